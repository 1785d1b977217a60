"""A request that travels by itself."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from idalloc_client._batching import Promise, settle
from idalloc_client._errors import IdAllocError
from idalloc_client._retry import Refusals, can_pass, overdue_after
from idalloc_client._rpc import PendingCalls, RawReply, RequestSpec
from idalloc_client._traces import Carrier

CallLater = Callable[[float, Callable[[], None]], object]

_LOOK_EVERY: Final = 0.5  # seconds


@dataclass(slots=True, eq=False)
class LoneCall:
    """A `PendingCall` with the promise of its reply. It belongs to the link's thread."""

    spec: RequestSpec[Any]
    deadline: float
    reply: Promise
    carrier: Carrier | None
    pending: PendingCalls
    call_later: CallLater | None
    """Lets it ask again after a pause, where an answer says that this can help; None: never."""
    clock: Callable[[], float] = time.monotonic
    correlation_id: bytes = b""
    refusals: Refusals | None = None
    shortcut: str | None = None

    def ask(self) -> None:
        self.correlation_id = self.pending.add(self)

    def forget(self) -> None:
        """Want no reply any more."""
        self.pending.forget(self.correlation_id)

    def begin(self, call_later: CallLater) -> None:
        """Leave, and be sent again if it may be lost; on the thread of the link."""
        self.ask()

        def look() -> None:
            if not self.reply.done():
                self.pending.doubt(self.correlation_id)
                call_later(_LOOK_EVERY, look)

        call_later(_LOOK_EVERY, look)

    def finish(self, outcome: RawReply | IdAllocError) -> None:
        if self.reply.done() or self.call_later is None:
            settle(self.reply, outcome)
            return
        refusal = self._refusal(outcome)
        if refusal is None or not can_pass(refusal):
            settle(self.reply, outcome)
        else:
            self._ask_later(refusal, self.call_later)

    def overdue(self) -> IdAllocError:
        """Say why there is no reply at the deadline. Any thread may ask."""
        return overdue_after(self.refusals, self.pending.overdue(self.spec.queue))

    def _refusal(self, outcome: RawReply | IdAllocError) -> IdAllocError | None:
        if isinstance(outcome, IdAllocError):
            return outcome
        try:
            self.spec.read(outcome)
        except IdAllocError as error:
            return error
        return None

    def _ask_later(self, refusal: IdAllocError, call_later: CallLater) -> None:
        now = self.clock()
        refusals = self.refusals = Refusals.after(self.refusals, refusal, now)
        if self.carrier is not None:
            self.carrier.finished(refusal)
        pause = refusals.pause(self.deadline - now, random.random())  # noqa: S311  # spreads load
        if pause is None:
            settle(self.reply, refusals.at_last())
            return
        self.pending.keep(self.correlation_id, self)  # so that it ends with the client
        call_later(pause.latest, partial(self._ask_again, refusals))

    def _ask_again(self, refusals: Refusals) -> None:
        if self.refusals is refusals and not self.reply.done():  # else it was answered meanwhile
            self.forget()
            self.ask()
