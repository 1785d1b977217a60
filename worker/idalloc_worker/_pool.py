"""The ids that one tag holds in memory, and the requests that wait for more."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from idalloc_worker._effects import Range, Refused
from idalloc_worker._segment import Segment
from idalloc_worker._tag_settings import TagSettings

SEGMENTS_WANTED = 2
"""A double buffer: one segment to hand out from, one to go on with."""


@dataclass(slots=True, eq=False)
class Waiter:
    """A request in the queue of its tag; `owner` is whatever the caller of the engine gave."""

    owner: object
    count: int
    deadline: float
    until: float
    """When the worker stops letting it wait: before the deadline, so that it learns why."""
    waiting: bool = True


class TagPool:
    """Bookkeeping without decisions: `Engine` owns it and tells it what to do."""

    __slots__ = (
        "_demand",
        "_left",
        "_segments",
        "_waiters",
        "_waiting",
        "app_tag",
        "attempt",
        "failures",
        "handed_out",
        "known",
        "last_error",
        "lost",
        "mark",
        "refusal",
        "reserved",
        "retry_at",
        "retry_timer_at",
        "settings",
    )

    def __init__(self, app_tag: str) -> None:
        self.app_tag = app_tag
        self._segments: deque[list[int]] = deque()  # [next id, end] each
        self._left = 0
        self._waiters: deque[Waiter] = deque()
        self._waiting = 0  # the queue also holds some that were dismissed out of turn
        self._demand = 0
        self.attempt: int | None = None
        self.failures = 0
        self.retry_at = 0.0
        self.retry_timer_at: float | None = None
        self.refusal: Refused | None = None
        self.last_error: str | None = None
        self.known = False  # whether the table ever had a row for the tag
        self.mark = 0  # no segment below it is accepted any more
        self.settings: TagSettings | None = None  # as the row had them at the last refill
        self.reserved = self.handed_out = self.lost = 0

    def __repr__(self) -> str:
        return (
            f"<TagPool {self.app_tag} held={list(self.held())} waiters={self._waiting} "
            f"attempt={self.attempt} failures={self.failures}>"
        )

    @property
    def left(self) -> int:
        """How many ids are in memory."""
        return self._left

    @property
    def waiters(self) -> int:
        """How many requests wait."""
        return self._waiting

    @property
    def shortage(self) -> int:
        """How many ids the waiting requests need beyond those in memory; below 1: none."""
        return self._demand - self._left

    @property
    def wants_refill(self) -> bool:
        """Whether fewer than two segments are held, or the waiting requests need more."""
        return len(self._segments) < SEGMENTS_WANTED or self._demand > self._left

    def held(self) -> Iterator[Range]:
        """Walk through what is left, lowest ids first."""
        return ((left, right) for left, right in self._segments)

    def put(self, segment: Segment) -> None:
        """Take a segment in. Its ids lie above `mark`, and id 0 is never one of them."""
        left = max(segment.left, 1)
        self.mark = segment.right
        if left < segment.right:
            size = segment.right - left
            self._segments.append([left, segment.right])
            self._left += size
            self.reserved += size

    def take(self, count: int) -> tuple[Range, ...]:
        """Remove the lowest `count` ids; the caller has made sure that they are there."""
        self._left -= count
        self.handed_out += count
        segment = self._segments[0]
        left = segment[0]
        right = left + count
        if right < segment[1]:  # nearly always
            segment[0] = right
            return ((left, right),)
        return tuple(self._take_across(count))

    def _take_across(self, count: int) -> list[Range]:
        ranges: list[Range] = []
        while count:
            segment = self._segments[0]
            left = segment[0]
            right = min(left + count, segment[1])
            count -= right - left
            if right == segment[1]:
                self._segments.popleft()
            else:
                segment[0] = right
            if ranges and ranges[-1][1] == left:
                ranges[-1] = (ranges[-1][0], right)
            else:
                ranges.append((left, right))
        return ranges

    def drop_all(self) -> int:
        """Give up every id in memory, count them as lost and say how many they were."""
        dropped = self._left
        self.lost += dropped
        self._segments.clear()
        self._left = 0
        return dropped

    def lose(self, ids: int) -> None:
        """Count ids that were, or may have been, reserved and will never be handed out."""
        self.reserved += ids
        self.lost += ids

    def enqueue(self, waiter: Waiter) -> None:
        """Let a request wait behind those that came before it."""
        self._waiters.append(waiter)
        self._waiting += 1
        self._demand += waiter.count

    def first_waiter(self) -> Waiter | None:
        """Tell whose turn it is, forgetting those that were dismissed out of turn."""
        while self._waiters and not self._waiters[0].waiting:
            self._waiters.popleft()
        return self._waiters[0] if self._waiters else None

    def dismiss(self, waiter: Waiter) -> None:
        """End a wait. Only the first is removed at once; the rest when their turn comes."""
        if waiter.waiting:
            waiter.waiting = False
            self._waiting -= 1
            self._demand -= waiter.count
            self.first_waiter()
