"""One request that several workers answer, each for itself."""

import threading
from collections.abc import Callable
from typing import Any

from idalloc_client._errors import IdAllocError
from idalloc_client._rpc._pending_calls import PendingCalls
from idalloc_client._rpc._request_spec import RawReply, RequestSpec
from idalloc_client._traces import Carrier


class FleetReplies:
    """Collects replies until it is told to stop: nobody knows how many will come.

    `start` and `stop` belong to the link's thread, `on_end` is called there; the rest may be read
    once it was stopped.
    """

    def __init__(
        self,
        pending: PendingCalls,
        spec: RequestSpec[Any],
        deadline: float,
        on_end: Callable[[], object],
    ) -> None:
        """`on_end` is called if it ends before it is told to: the client is closed, say."""
        self._pending = pending
        self._on_end = on_end
        self._correlation_id = b""
        self.spec = spec
        self.deadline = deadline
        self.carrier: Carrier | None = None
        self.shortcut: str | None = None
        self.replies: dict[str, RawReply] = {}
        """The last one of each worker: a request that was sent again is answered again."""
        self.error: IdAllocError | None = None

    def start(self) -> None:
        self._correlation_id = self._pending.add(self)

    def stop(self) -> None:
        self._pending.forget(self._correlation_id)

    def finish(self, outcome: RawReply | IdAllocError) -> None:
        """Take a reply and wait for the next, or the error that ends it."""
        if isinstance(outcome, RawReply):
            self.replies[outcome.worker] = outcome
            self._pending.keep(self._correlation_id, self)
        else:
            self.error = outcome
            self._on_end()

    def outcome(self) -> list[RawReply]:
        """Tell what came, in the order of the workers' names. Raises if nothing did."""
        if not self.replies:
            raise self.error or self._pending.overdue(self.spec.queue)
        return [reply for _, reply in sorted(self.replies.items())]


def gather(
    post: Callable[[Callable[[], None]], None],
    pending: PendingCalls,
    spec: RequestSpec[Any],
    within: float,
    now: float,
) -> list[RawReply]:
    """Send a request from any thread, and block for `within` seconds; see `FleetReplies`."""
    ended, stopped = threading.Event(), threading.Event()
    collecting = FleetReplies(pending, spec, now + within, ended.set)
    post(collecting.start)
    ended.wait(within)

    def stop() -> None:
        collecting.stop()
        stopped.set()

    post(stop)
    stopped.wait(1.0)  # of a closed client the thread may have ended
    return collecting.outcome()
