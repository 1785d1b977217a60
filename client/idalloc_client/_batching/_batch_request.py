"""A request on its way for the callers of one lane."""

from collections.abc import Callable
from typing import Any

from idalloc_client._batch import IdBatch
from idalloc_client._batching._tag_queue import Group, Lane, Waiter, deadline_of
from idalloc_client._errors import IdAllocError
from idalloc_client._rpc import Exchange, RawReply
from idalloc_client._stats import Carrier

OnFinished = Callable[["GatheredCall", RawReply | IdAllocError], None]


class GatheredCall:
    """A `Call` of the call table. `on_finished` is called once."""

    __slots__ = (
        "_on_finished",
        "carrier",
        "correlation_id",
        "deadline",
        "group",
        "holds_place",
        "lane",
        "request",
        "rest",
        "sent_at",
    )

    def __init__(  # noqa: PLR0913, PLR0917  # what it is, and nothing of it can be left out
        self,
        on_finished: OnFinished,
        lane: Lane,
        group: Group,
        rest: list[Waiter],
        request: Exchange[IdBatch],
        sent_at: float,
    ) -> None:
        self._on_finished: OnFinished | None = on_finished
        self.carrier: Carrier | None = None
        self.correlation_id = b""
        self.holds_place = False  # one of its lane's few, which full requests do not need
        self.lane = lane
        self.group = group
        self.rest = rest
        """Callers whose turn depends on what becomes of this one."""
        self.request: Exchange[Any] = request
        self.deadline = max(map(deadline_of, group.waiters))
        self.sent_at = sent_at

    @property
    def everybody(self) -> list[Waiter]:
        """All callers that are not in a lane."""
        return self.group.waiters + self.rest

    def finish(self, outcome: RawReply | IdAllocError) -> None:
        """Hand the outcome on to the callers; the first one stands."""
        on_finished, self._on_finished = self._on_finished, None
        if on_finished is not None:
            on_finished(self, outcome)
