"""The ids that one tag holds in memory, and the requests that wait for more."""

from collections import deque
from dataclasses import dataclass
from math import inf
from typing import Final

from idalloc_schemas import MAX_ID
from idalloc_worker.engine._effects import Denial, Ranges
from idalloc_worker.engine._fair_share import FairShare
from idalloc_worker.engine._held_ids import HeldIds
from idalloc_worker.tags import (
    NO_DEMAND,
    Allowance,
    Consumption,
    Demand,
    DrawLimits,
    Segment,
    SpaceUsed,
    TagSettings,
    end_of_space,
    space_used,
    step_size,
)

NOBODY: Final[frozenset[str | None]] = frozenset()
"""One for all tags; measured: 216 bytes."""


@dataclass(slots=True, eq=False)
class Waiter:
    """A request in the queue of its tag; `token` is whatever the caller of the engine gave."""

    token: object
    count: int
    deadline: float
    user: str | None = None
    waiting: bool = True
    places: FairShare | None = None
    """Where its place is counted, while it waits."""

    def end(self) -> None:
        """Leave the queue, and the place among all who wait."""
        self.waiting = False
        if self.places is not None:
            self.places.leave(self.user)


class TagPool(HeldIds):
    """Bookkeeping without decisions: `Engine` owns it and tells it what to do."""

    __slots__ = (
        "_consumption",
        "_demand",
        "_demand_seen",
        "_size",
        "_waiters",
        "allowance",
        "allowed_users",
        "app_tag",
        "asked_by",
        "attempt",
        "barred",
        "calm_until",
        "failures",
        "known",
        "last_error",
        "mark",
        "max_count",
        "read_at",
        "refills",
        "refusal",
        "retry_at",
        "retry_timer_at",
        "settings",
        "threshold",
        "unmetered",
        "waiters",
    )

    def __init__(self, app_tag: str) -> None:
        super().__init__()
        self.app_tag = app_tag
        # Made when somebody waits; measured: 760 bytes, empty, of the 2048 that a tag may take up.
        self._waiters: deque[Waiter] | None = None
        self.waiters = 0  # requests that wait; the queue also holds some dismissed out of turn
        self._demand = 0
        self._consumption = Consumption()
        self._demand_seen = NO_DEMAND  # when the last refill was started
        self._size = 0  # that the last refill called for, whatever more those who waited needed
        self.attempt: int | None = None
        self.asked_by: frozenset[str | None] = NOBODY  # who waited when it began
        self.failures = 0
        self.retry_at = 0.0
        self.retry_timer_at: float | None = None
        # Until when refills rest unless somebody waits; None unless the last ones cost ids and
        # brought none.
        self.calm_until: float | None = None
        self.refusal: Denial | None = None
        self.last_error: str | None = None
        self.known = False  # whether the table ever had a row for the tag
        self.mark = 0  # the high-water mark: no segment below it is accepted any more
        self.settings: TagSettings | None = None  # as the row had them at the last refill
        self.allowed_users: frozenset[str] | None = None  # of the settings; None: everybody
        self.max_count = self.unmetered = 0  # ids for one request; for one that is not counted
        self.allowance: Allowance | None = None  # who has drawn how much; None: nobody is limited
        self.read_at = -inf  # when the settings came
        self.barred = False  # whether nobody may take: it is in doubt whose the ids are
        self.threshold = 0  # the percentage of used id space that was told last
        self.refills = 0  # that brought a segment

    def __repr__(self) -> str:
        return (
            f"<TagPool {self.app_tag} held={list(self.held())} waiters={self.waiters} "
            f"attempt={self.attempt} failures={self.failures}>"
        )

    @property
    def shortage(self) -> int:
        """How many ids the waiting requests need beyond those in memory; below 1: none."""
        return self._demand - self.remaining

    @property
    def wants_refill(self) -> bool:
        """Whether fewer than two segments are held, or the waiting requests need more."""
        return not self.full or self._demand > self.remaining

    def has(self, count: int) -> bool:
        """Tell whether a request for so many may be served now, if its user may draw."""
        return count <= self.remaining and not self.waiters and count <= self.max_count

    def allows(self, user: str | None) -> bool:
        """Tell whether a user may draw, as far as is known."""
        return self.allowed_users is None or user in self.allowed_users

    def debt(self, user: str | None, count: int, now: float) -> float:
        """Tell in how many seconds a user may draw so many ids; 0 if it may now."""
        if self.allowance is None or count <= self.unmetered:
            return 0.0
        return self.allowance.debt(user, count, now)

    def draw(self, user: str | None, count: int, now: float) -> Ranges:
        """Remove the lowest `count` ids, which are there, and charge a user for them."""
        if self.allowance is not None and count > self.unmetered:
            self.allowance.charge(user, count, now)
        return self.take(count)

    def _limit(self, settings: TagSettings, max_count: int) -> None:
        space = max(end_of_space(settings.ceiling) - self.mark, 0) + self.remaining
        limits = DrawLimits.of(settings, space, max_count)
        self.max_count, self.unmetered = limits.max_count, limits.unmetered
        if self.unmetered >= self.max_count:
            self.allowance = None
        elif self.allowance is None:
            self.allowance = Allowance(limits.rate)
        else:
            self.allowance.rate = limits.rate

    def adopt(self, settings: TagSettings, now: float, max_count: int = MAX_ID) -> list[Waiter]:
        """Go by these settings from now on; return those who wait and may not draw.

        The worker gives `max_count` ids at once, at most, whatever the tag allows.
        """
        self.settings = settings
        self.asked_by = NOBODY
        self.allowed_users = settings.allowed_users
        self.read_at = now
        self.drop_from(end_of_space(settings.ceiling))
        self._limit(settings, max_count)
        self._set_door()
        if self.allowed_users is None:
            return []
        return [one for one in self._waiters or () if one.waiting and not self.allows(one.user)]

    def drop_row(self) -> None:
        """Forget what the row had, which is gone: a deleted tag is not served on."""
        self.drop_all()
        self.allowed_users = None  # whoever adds it again says anew who may draw

    def recovered(self) -> None:
        """Note that the database answered: nothing of what failed before counts any more."""
        self.failures = 0
        self.retry_at = 0.0
        self.refusal = self.last_error = None

    def stay_calm(self, now: float, pause: float, *, costly: bool) -> None:
        """Rest after a refill that cost ids and brought none, and after what fails then.

        The next may cost as many: so while ids are left and nobody waits it has time, as long as
        three quarters of them remain when the pause ends.
        """
        if costly or self.calm_until is not None:
            self.calm_until = now + min(pause, self.cover(now) / 4)

    @property
    def refill_due(self) -> float:
        """When a refill may start at the earliest."""
        if self.calm_until is None or self.waiters:
            return self.retry_at
        return max(self.retry_at, self.calm_until)

    def measure(self, now: float) -> Demand:
        """Note what was asked for until now, and tell what it says about the next refill.

        As long as ids may be lost: nothing, so that a refill brings what is waited for or one step.
        """
        seen = Demand(self._consumption.observe(now, self._asked), self._size)
        self._demand_seen = seen if self.calm_until is None else NO_DEMAND
        return self._demand_seen

    def rate(self, now: float) -> float:
        """Tell how many ids per second are asked for."""
        return self._consumption.rate(now, self._asked)

    def cover(self, now: float) -> float:
        """Tell how many seconds the ids in memory last at this rate; `inf` if nobody asks."""
        rate = self.rate(now)
        return self.remaining / rate if rate else inf

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
        return frozenset(one.user for one in self._waiters or () if one.waiting)

    def dismiss_of_attempt(self) -> list[Waiter]:
        """End the waits of those users for whom a refill was tried last; return who waited."""
        waiting = [one for one in self._waiters or () if one.waiting]
        theirs = [one for one in waiting if one.user in self.asked_by]
        for waiter in theirs:
            self.dismiss(waiter)
        return theirs

    def bar(self, *, barred: bool) -> None:
        """Have everybody wait, whatever is held, or let them take again."""
        self.barred = barred
        self._set_door()

    def put(self, segment: Segment) -> None:
        """Take a segment in. Its ids lie above `mark`, and id 0 is never one of them."""
        left = max(segment.left, 1)
        self.refills += 1
        self.mark = segment.right
        careful = self.calm_until is not None
        self.calm_until = None
        if self.settings is not None and not careful:
            self._size = step_size(self.settings, self._demand_seen)
        self.add(Segment(left, max(left, segment.right)))
        if careful and segment.size < self._size:
            self.full = False  # it was as small as can be: one of the usual size is due at once

    def void(self) -> None:
        """Forget ids, requests and the refill in flight, whose report comes too late now."""
        self.drop_all()
        for waiter in self._waiters or ():
            if waiter.waiting:
                waiter.end()
        self._waiters = None
        self.waiters = self._demand = 0
        self.bar(barred=False)
        self.attempt = self.retry_timer_at = None

    def enqueue(self, waiter: Waiter) -> None:
        """Let a request wait behind those that came before it."""
        if self._waiters is None:
            self._waiters = deque()
        self._waiters.append(waiter)
        self.waiters += 1
        self._demand += waiter.count
        self._set_door()

    def first_waiter(self) -> Waiter | None:
        """Tell whose turn it is, forgetting those that were dismissed out of turn."""
        while self._waiters:
            if self._waiters[0].waiting:
                return self._waiters[0]
            self._waiters.popleft()
        self._waiters = None
        return None

    def dismiss(self, waiter: Waiter) -> None:
        """End a wait. Only the first is removed at once; the rest when their turn comes."""
        if waiter.waiting:
            waiter.end()
            self.waiters -= 1
            self._demand -= waiter.count
            self._set_door()
            self.first_waiter()

    def _set_door(self) -> None:
        """Nobody passes those who wait, nor takes what only some, or nobody, may have."""
        doubtful = self.waiters or self.barred or self.allowed_users is not None
        self.close_door(closed=bool(doubtful))
