"""A request that travels by itself."""

from dataclasses import dataclass
from typing import Any

from idalloc_client._batching import Promise, settle
from idalloc_client._errors import IdAllocError
from idalloc_client._rpc import RawReply, RequestSpec
from idalloc_client._stats import Carrier


@dataclass(slots=True, eq=False)
class LoneCall:
    """A `PendingCall` with the promise of its reply."""

    spec: RequestSpec[Any]
    deadline: float
    reply: Promise
    carrier: Carrier | None
    correlation_id: bytes = b""

    def finish(self, outcome: RawReply | IdAllocError) -> None:
        settle(self.reply, outcome)
