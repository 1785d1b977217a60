"""The ids that one tag holds in memory, and the requests that wait for more."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from math import inf

from idalloc_worker._consumption import Consumption
from idalloc_worker._effects import Range, Refused
from idalloc_worker._id_space import SpaceUsed, end_of_space, space_used
from idalloc_worker._segment import Segment
from idalloc_worker._step_size import NO_DEMAND, Demand, step_size
from idalloc_worker._tag_settings import TagSettings

SEGMENTS_WANTED = 2
"""A double buffer: one segment to hand out from, one to go on with."""


@dataclass(slots=True, eq=False)
class Waiter:
    """A request in the queue of its tag; `owner` is whatever the caller of the engine gave."""

    owner: object
    count: int
    deadline: float
    user: str | None = None
    waiting: bool = True


class TagPool:
    """Bookkeeping without decisions: `Engine` owns it and tells it what to do."""

    __slots__ = (
        "_consumption",
        "_demand",
        "_demand_seen",
        "_segments",
        "_size",
        "_waiters",
        "allowed_users",
        "app_tag",
        "attempt",
        "failures",
        "full",
        "given_back",
        "handed_out",
        "known",
        "last_error",
        "left",
        "lost",
        "mark",
        "read_at",
        "refills",
        "refusal",
        "reserved",
        "retry_at",
        "retry_timer_at",
        "settings",
        "threshold",
        "waiters",
    )

    def __init__(self, app_tag: str) -> None:
        self.app_tag = app_tag
        self._segments: deque[list[int]] = deque()  # [next id, end] each
        self.left = 0  # ids in memory
        self.full = False  # whether as many segments are held as are wanted
        self._waiters: deque[Waiter] = deque()
        self.waiters = 0  # requests that wait; the queue also holds some dismissed out of turn
        self._demand = 0
        self._consumption = Consumption()
        self._demand_seen = NO_DEMAND  # when the last refill was started
        self._size = 0  # that the last refill called for, whatever more those who waited needed
        self.attempt: int | None = None
        self.failures = 0
        self.retry_at = 0.0
        self.retry_timer_at: float | None = None
        self.refusal: Refused | None = None
        self.last_error: str | None = None
        self.known = False  # whether the table ever had a row for the tag
        self.mark = 0  # no segment below it is accepted any more
        self.settings: TagSettings | None = None  # as the row had them at the last refill
        self.allowed_users: frozenset[str] | None = None  # of the settings; None: everybody
        self.read_at = -inf  # when the settings came
        self.threshold = 0  # the percentage of used id space that was told last
        self.refills = 0  # that brought a segment
        self.reserved = self.handed_out = self.lost = self.given_back = 0

    def __repr__(self) -> str:
        return (
            f"<TagPool {self.app_tag} held={list(self.held())} waiters={self.waiters} "
            f"attempt={self.attempt} failures={self.failures}>"
        )

    @property
    def shortage(self) -> int:
        """How many ids the waiting requests need beyond those in memory; below 1: none."""
        return self._demand - self.left

    @property
    def wants_refill(self) -> bool:
        """Whether fewer than two segments are held, or the waiting requests need more."""
        return not self.full or self._demand > self.left

    def allows(self, user: str | None) -> bool:
        """Tell whether a user may draw, as far as is known."""
        return self.allowed_users is None or user in self.allowed_users

    def adopt(self, settings: TagSettings, now: float) -> list[Waiter]:
        """Go by these settings from now on; return those who wait and may not draw."""
        self.settings = settings
        self.allowed_users = settings.allowed_users
        self.read_at = now
        self._drop_from(end_of_space(settings.ceiling))
        if self.allowed_users is None:
            return []
        return [one for one in self._waiters if one.waiting and not self.allows(one.user)]

    def measure(self, now: float) -> Demand:
        """Note what was asked for until now, and tell what it says about the next refill."""
        self._demand_seen = Demand(self._consumption.observe(now, self._asked), self._size)
        return self._demand_seen

    def rate(self, now: float) -> float:
        """Tell how many ids per second are asked for."""
        return self._consumption.rate(now, self._asked)

    def cover(self, now: float) -> float:
        """Tell how many seconds the ids in memory last at this rate; `inf` if nobody asks."""
        rate = self.rate(now)
        return self.left / rate if rate else inf

    @property
    def _asked(self) -> int:
        return self.handed_out + self._demand

    @property
    def space_used(self) -> SpaceUsed:
        """How much of the id space lies below the highest segment that was seen."""
        return space_used(self.mark, self.settings.ceiling if self.settings else None)

    def space_warning(self) -> SpaceUsed | None:
        """Tell how much of the id space is used up if that has passed a threshold since asked."""
        used = self.space_used
        before, self.threshold = self.threshold, used.threshold
        return used if used.threshold > before else None

    def users(self) -> frozenset[str | None] | None:
        """Name those who wait; None if nobody does."""
        if not self.waiters:
            return None
        return frozenset(one.user for one in self._waiters if one.waiting)

    def held(self) -> Iterator[Range]:
        """Walk through what is left, lowest ids first."""
        return ((left, right) for left, right in self._segments)

    def put(self, segment: Segment) -> None:
        """Take a segment in. Its ids lie above `mark`, and id 0 is never one of them."""
        left = max(segment.left, 1)
        self.refills += 1
        self.mark = segment.right
        if self.settings is not None:
            self._size = step_size(self.settings, self._demand_seen)
        if left < segment.right:
            size = segment.right - left
            self._segments.append([left, segment.right])
            self.left += size
            self.reserved += size
        self._count_segments()

    def take(self, count: int) -> tuple[Range, ...]:
        """Remove the lowest `count` ids; the caller has made sure that they are there."""
        self.left -= count
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
        self._count_segments()
        return ranges

    def drop_all(self) -> int:
        """Give up every id in memory, count them as lost and say how many they were."""
        dropped = self.left
        self.lost += dropped
        self._segments.clear()
        self.left = 0
        self._count_segments()
        return dropped

    def surrender_tail(self) -> Range | None:
        """Remove the highest ids that hang together; `gave_back` or `kept_back` counts them."""
        if not self._segments:
            return None
        left, right = self._segments.pop()
        while self._segments and self._segments[-1][1] == left:
            left, _ = self._segments.pop()
        self.left -= right - left
        self._count_segments()
        return left, right

    def gave_back(self, ids: int) -> None:
        """Count ids that were surrendered as given back: the next reservation has them again."""
        self.given_back += ids

    def kept_back(self, ids: int) -> None:
        """Count ids that were surrendered as lost: the row could not be lowered, or may not be."""
        self.lost += ids

    def _drop_from(self, end: int) -> None:
        """Give up the ids in memory from `end` on: the ceiling was lowered below them."""
        while self._segments and self._segments[-1][1] > end:
            left, right = self._segments[-1]
            if left >= end:
                self._segments.pop()
            else:
                self._segments[-1][1] = end
            dropped = right - max(left, end)
            self.left -= dropped
            self.lost += dropped
        self._count_segments()

    def _count_segments(self) -> None:
        self.full = len(self._segments) >= SEGMENTS_WANTED

    def void(self) -> None:
        """Forget ids, requests and the refill in flight, whose report comes too late now."""
        self.drop_all()
        for waiter in self._waiters:
            waiter.waiting = False
        self._waiters.clear()
        self.waiters = self._demand = 0
        self.attempt = self.retry_timer_at = None

    def lose(self, ids: int) -> None:
        """Count ids that were, or may have been, reserved and will never be handed out."""
        self.reserved += ids
        self.lost += ids

    def enqueue(self, waiter: Waiter) -> None:
        """Let a request wait behind those that came before it."""
        self._waiters.append(waiter)
        self.waiters += 1
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
            self.waiters -= 1
            self._demand -= waiter.count
            self.first_waiter()
