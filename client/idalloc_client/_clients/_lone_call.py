"""A request that travels by itself."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from idalloc_client._batching import Promise, settle
from idalloc_client._errors import IdAllocError
from idalloc_client._rpc import PendingCalls, RawReply, RequestSpec
from idalloc_client._stats import Carrier

_LOOK_EVERY: Final = 0.5  # seconds


@dataclass(slots=True, eq=False)
class LoneCall:
    """A `PendingCall` with the promise of its reply."""

    spec: RequestSpec[Any]
    deadline: float
    reply: Promise
    carrier: Carrier | None
    correlation_id: bytes = b""

    def begin(
        self, pending: PendingCalls, call_later: Callable[[float, Callable[[], None]], object]
    ) -> None:
        """Leave, and be sent again if it may be lost; on the thread of the link."""
        self.correlation_id = pending.add(self)

        def look() -> None:
            if not self.reply.done():
                pending.doubt(self.correlation_id)
                call_later(_LOOK_EVERY, look)

        call_later(_LOOK_EVERY, look)

    def finish(self, outcome: RawReply | IdAllocError) -> None:
        settle(self.reply, outcome)
