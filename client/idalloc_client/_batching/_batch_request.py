"""A request on its way for the callers of one tag queue."""

from collections.abc import Callable
from typing import Any

from idalloc_client._batch import IdBatch
from idalloc_client._batching._tag_queue import Batch, TagQueue, Waiter
from idalloc_client._errors import IdAllocError
from idalloc_client._rpc import RawReply, RequestSpec
from idalloc_client._traces import Carrier

OnFinished = Callable[["BatchRequest", RawReply | IdAllocError], None]


class BatchRequest:
    """A `PendingCall`. `on_finished` is called once."""

    __slots__ = (
        "_on_finished",
        "alone",
        "batch",
        "carrier",
        "correlation_id",
        "deadline",
        "holds_place",
        "rest",
        "sent_at",
        "shortcut",
        "spec",
        "tag_queue",
    )

    def __init__(  # noqa: PLR0913, PLR0917  # what it is, and nothing of it can be left out
        self,
        on_finished: OnFinished,
        tag_queue: TagQueue,
        batch: Batch,
        rest: list[Waiter],
        spec: RequestSpec[IdBatch],
        sent_at: float,
    ) -> None:
        self._on_finished: OnFinished | None = on_finished
        self.carrier: Carrier | None = None
        self.correlation_id = b""
        self.shortcut = tag_queue.shortcut
        self.alone = False  # whether nothing was in flight when it left
        self.holds_place = False  # one of its queue's few, which full requests do not need
        self.tag_queue = tag_queue
        self.batch = batch
        self.rest = rest
        """Callers whose turn depends on what becomes of this one."""
        self.spec: RequestSpec[Any] = spec
        self.deadline = batch.deadline
        self.sent_at = sent_at

    @property
    def everybody(self) -> list[Waiter]:
        """All callers that are not in a queue."""
        return self.batch.waiters + self.rest

    def read(self, outcome: RawReply | IdAllocError) -> IdBatch | IdAllocError:
        """Return the ids that came, or why there are none."""
        try:
            return outcome if isinstance(outcome, IdAllocError) else self.spec.read(outcome)
        except IdAllocError as refusal:
            return refusal.with_traceback(None)  # whose frames hold the callers

    def finish(self, outcome: RawReply | IdAllocError) -> None:
        """Hand the outcome on to the callers; the first one stands."""
        on_finished, self._on_finished = self._on_finished, None
        if on_finished is not None:
            on_finished(self, outcome)
