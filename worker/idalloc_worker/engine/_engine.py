"""The allocator: a pure state machine over requests, segments, failures and time.

It is owned by one thread and does no I/O. Time (monotonic seconds) comes in as `now`; what is to be
done outside comes out of `effects()`.
"""

import random
from collections.abc import Callable, Iterator, Mapping
from itertools import count as counter
from math import inf

from idalloc_schemas import RespCode, TagHealth
from idalloc_worker.engine._effects import (
    REDIRECTED,
    AbandonRefill,
    Answer,
    Answered,
    Denial,
    Effect,
    Expired,
    Personal,
    Redirected,
    Refused,
    StartRefill,
)
from idalloc_worker.engine._fair_share import WaitingPlaces
from idalloc_worker.engine._limits import EngineLimits
from idalloc_worker.engine._pool import NOBODY, TagPool, Waiter
from idalloc_worker.engine._refusal_memory import RefusalMemory
from idalloc_worker.engine._refusals import SHUTTING_DOWN, forbidden, over_share, too_many
from idalloc_worker.engine._strangers import Strangers
from idalloc_worker.engine._tag_health import health_of
from idalloc_worker.engine._timers import Timers
from idalloc_worker.engine._why_not import below, no_available_id, no_reason_to_wait, over_limit
from idalloc_worker.tags import Segment, TagSettings

__all__ = ["Engine", "EngineLimits"]


class Engine:
    """Hands out ids from memory, and says when it wants more.

    `ordered`: it is that of the owner of ordered tags. `attempts` numbers the refills: engines that
    share refill threads share it. `jitter` gives numbers from [0, 1).
    """

    def __init__(
        self,
        limits: EngineLimits,
        *,
        ordered: bool = False,
        attempts: Iterator[int] | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._limits, self._max_count = limits, limits.max_count
        self.places, self._strangers = WaitingPlaces(limits.max_waiting), Strangers()
        self._ordered, self._jitter = ordered, jitter
        self._pools: dict[str, TagPool] = {}
        self._refilling: dict[int, TagPool] = {}  # by attempt, until its report
        self._refusals = RefusalMemory(limits.max_refusals)  # of unknown tags
        self._attempts = counter(1) if attempts is None else attempts
        self._effects: list[Effect] = []
        self._timers = Timers[tuple[Waiter | TagPool | int, TagPool]]()
        self._closing = False

    # What the worker asks

    def take(  # noqa: PLR0913  # an object for its arguments would cost as much as the rest
        self,
        app_tag: str,
        count: int,
        now: float,
        *,
        token: object = None,
        deadline: float = inf,
        user: str | None = None,
    ) -> Answer | None:
        """Answer a request at once, or let it wait (None) and answer it in an effect later.

        `user` is the one whom the broker vouches for, None if it vouches for nobody.
        """
        pool = self._pools.get(app_tag)
        if pool is not None:
            left = pool.next
            right = left + count
            # Nearly always; measured: 7 % of a worker's CPU time per request (`HeldIds`).
            if right < pool.open_end and count <= pool.unmetered:
                pool.next = right
                if not pool.full and pool.attempt is None:
                    self._refill_if_wanted(pool, now)
                return ((left, right),)
            if self._may_take(pool, count, user) and not pool.debt(user, count, now):
                ranges = pool.draw(user, count, now)
                self._refill_if_wanted(pool, now)
                return ranges
        return self._take_slowly(app_tag, Waiter(token, count, deadline, user), now)

    def health(self, now: float, app_tag: str) -> TagHealth | Refused:
        """Describe how it stands with a tag, or tell that there is no row for it."""
        return health_of(app_tag, self._pools.get(app_tag), self._refusals, now)

    def effects(self) -> list[Effect]:
        """Hand over what is to be done; each effect once."""
        effects, self._effects = self._effects, []
        return effects

    @property
    def next_wakeup(self) -> float:
        """When `tick` has to be called at the latest; `inf` if nothing is due."""
        return self._timers.next

    @property
    def remaining(self) -> int:
        """How many ids are in memory."""
        return sum(pool.remaining for pool in self._pools.values())

    def close(self, now: float) -> None:
        """Stop waiting: whoever waits, or would have to, is refused with SHUTTING_DOWN."""
        self._closing = True
        for pool in self._pools.values():
            self._refuse_waiters(pool, SHUTTING_DOWN, now)

    def redirect(self, app_tag: str, now: float, to: Redirected = REDIRECTED) -> None:
        """Serve a tag no longer: what is in memory of it is lost, and who waits goes elsewhere."""
        if (pool := self._pools.get(app_tag)) is not None:
            pool.drop_all()
            pool.attempt = pool.retry_timer_at = None  # a segment that arrives now is too late
            self._refuse_waiters(pool, to, now)
            if not pool.known:  # anybody may send any name
                self._drop(pool)

    def forget(self, app_tag: str) -> None:
        """Keep nothing of a tag that is not used any more; what is in memory of it is lost."""
        pool = self._pools.get(app_tag)
        if pool is not None and not pool.waiters and pool.attempt is None:
            pool.drop_all()
            pool.retry_timer_at = None
            self._drop(pool)

    def void(self) -> None:
        """Lose all that is in memory: the one who was to hand it out is no longer the owner.

        Nobody who waits is answered, and no refill starts before the next request.
        """
        for pool in self._pools.values():
            pool.void()
        self._pools = {tag: pool for tag, pool in self._pools.items() if pool.known}
        self._strangers = Strangers()

    # What the worker reports

    def segment_arrived(
        self, attempt: int, segment: Segment, settings: TagSettings, now: float
    ) -> bool:
        """Take in a committed reservation. False: it came too late or too low, and is lost."""
        pool, current = self._end_attempt(attempt)
        if not current:
            self._lose(pool, segment.right - segment.left)
            return False
        self._adopt(pool, settings, now)
        if segment.left == segment.right:
            self._fail(pool, f"an empty segment at {segment.left}", now)
            return False
        if segment.left < pool.mark:
            self._lose(pool, segment.right - segment.left)
            self._fail(pool, below(segment, pool.mark), now, costly=True)
            return False
        pool.recovered()
        pool.put(segment)
        self._serve(pool, now)
        self._refill_if_wanted(pool, now)
        return True

    def settings_arrived(self, attempt: int, settings: TagSettings, now: float) -> None:
        """Take in what the row says now; nothing was reserved, as nobody named may draw."""
        pool, current = self._end_attempt(attempt)
        if not current:
            return
        self._adopt(pool, settings, now)
        pool.recovered()
        self._serve(pool, now)
        if pool.waiters or pool.remaining:  # else nobody who may draw has asked
            self._refill_if_wanted(pool, now)

    def refill_failed(
        self, attempt: int, reason: str, now: float, *, possibly_reserved: int = 0
    ) -> None:
        """Note a failure that may pass. A commit of unknown outcome costs its segment."""
        pool, current = self._end_attempt(attempt)
        self._lose(pool, possibly_reserved)
        if current:
            self._fail(pool, reason, now, costly=possibly_reserved > 0)

    def refill_refused(
        self, attempt: int, refusal: Denial, now: float, settings: TagSettings | None = None
    ) -> None:
        """Note that the database has nothing for the tag: told to all, remembered for a while.

        `settings` are those of the row, if there is one that could be read.
        """
        pool, current = self._end_attempt(attempt)
        if not current:
            return
        if isinstance(refusal, Personal):  # others may have its row made
            pool.drop_row()
            self._refusals.remember_for(pool, refusal, now + self._limits.refusal_ttl)
            self._effects += [Answered(one.token, refusal) for one in pool.dismiss_of_attempt()]
            if pool.waiters:
                self._refill_if_wanted(pool, now)
            elif not pool.known:
                self._drop(pool)
            return
        if settings is not None:
            self._adopt(pool, settings, now)
        pool.failures = 0
        pool.refusal = refusal
        pool.last_error = refusal.detail or refusal.msg
        pool.retry_at = now + self._limits.refusal_ttl
        if isinstance(refusal, Redirected):
            pool.drop_all()
        elif refusal.code is RespCode.APP_TAG_NOT_FOUND:
            pool.drop_row()
        self._refuse_waiters(pool, refusal, now)
        if not pool.known:
            self._forget(pool, refusal)

    def tick(self, now: float) -> None:
        """Let time pass: end waits, abandon slow refills, retry failed ones."""
        for subject, pool in self._timers.due(now):
            if isinstance(subject, Waiter):
                self._end_wait(pool, subject, now)
            elif isinstance(subject, int):
                self._abandon(pool, subject, now)
            elif pool.retry_timer_at is not None:
                pool.retry_timer_at = None
                self._refill_if_wanted(pool, now)

    # Requests

    def _may_take(self, pool: TagPool, count: int, user: str | None) -> bool:
        return pool.has(count) and pool.allows(user)

    def _take_slowly(self, app_tag: str, request: Waiter, now: float) -> Answer | None:
        if request.count > self._max_count:
            return too_many(self._max_count, "on this worker")
        if refusal := self._refusals.in_force_for(app_tag, request.user, now):
            return refusal
        pool = self._pools.get(app_tag)
        if pool is not None:
            if not pool.allows(request.user):
                self._look_again(pool, now)
            if refusal := no_reason_to_wait(pool, request, self._limits, now):
                return refusal
        if self._closing:
            return SHUTTING_DOWN
        if not self._has_place(app_tag, request.user, now):
            return over_share("too many requests of this user wait", self._limits.backoff_base)
        pool = pool or self._new_pool(app_tag, now)
        self._wait(pool, request, now)
        self._refill_if_wanted(pool, now)
        return None

    def _new_pool(self, app_tag: str, now: float) -> TagPool:
        pool = self._pools[app_tag] = TagPool(app_tag)
        pool.failures = self._refusals.forget(app_tag)
        pool.stay_calm(now, 0.0, costly=pool.failures > 0)
        return pool

    def _has_place(self, app_tag: str, user: str | None, now: float) -> bool:
        known = app_tag in self._pools
        return self.places.admits_now(user, now) and (known or self._strangers.admit(app_tag, user))

    def _wait(self, pool: TagPool, waiter: Waiter, now: float) -> None:
        """Let it wait, and tell it before its deadline, so that it learns why."""
        waiter.places = self.places
        self.places.take(waiter.user)
        pool.enqueue(waiter)
        self._timers.set(self._limits.wait_until(waiter.deadline, now), (waiter, pool))

    def _end_wait(self, pool: TagPool, waiter: Waiter, now: float) -> None:
        if not waiter.waiting:
            return
        pool.dismiss(waiter)
        late = waiter.deadline <= now
        answer = no_available_id(pool, self._limits, now)
        self._effects.append(Expired(waiter.token) if late else Answered(waiter.token, answer))
        self._serve(pool, now)  # the next in line may need less
        self._refill_if_wanted(pool, now)

    def _serve(self, pool: TagPool, now: float) -> None:
        """Answer those who wait, first come first served, as far as the ids go."""
        while (waiter := pool.first_waiter()) is not None:
            if waiter.deadline <= now:
                effect: Effect = Expired(waiter.token)
            elif refusal := over_limit(pool, waiter, now):
                effect = Answered(waiter.token, refusal)
            elif waiter.count <= pool.remaining:
                effect = Answered(waiter.token, pool.draw(waiter.user, waiter.count, now))
            else:
                return
            pool.dismiss(waiter)
            self._effects.append(effect)

    def _refuse_waiters(self, pool: TagPool, refusal: Denial, now: float) -> None:
        """Answer everybody who waits: with ids as far as they go, else with the refusal."""
        self._serve(pool, now)
        while (waiter := pool.first_waiter()) is not None:
            pool.dismiss(waiter)
            self._effects.append(Answered(waiter.token, refusal))
            self._serve(pool, now)  # the next in line may need less

    # Settings and authority

    def _adopt(self, pool: TagPool, settings: TagSettings, now: float) -> None:
        pool.known = True
        self._strangers.settle(pool.app_tag)
        for waiter in pool.adopt(settings, now, self._max_count):
            pool.dismiss(waiter)
            self._effects.append(Answered(waiter.token, forbidden(waiter.user)))

    def _look_again(self, pool: TagPool, now: float) -> None:
        """See whether the row still refuses a user: the next refill may be far, or never come."""
        due = now >= max(pool.retry_at, pool.read_at + self._limits.refusal_ttl)
        if due and pool.attempt is None and not self._closing:
            self._start_attempt(pool, now, users=frozenset())

    # Refills

    def _refill_if_wanted(self, pool: TagPool, now: float) -> None:
        if pool.attempt is not None or self._closing or not pool.wants_refill:
            return
        if now < pool.refill_due:
            if pool.waiters and pool.retry_timer_at is None:
                pool.retry_timer_at = pool.retry_at
                self._timers.set(pool.retry_at, (pool, pool))
            return
        self._start_attempt(pool, now, pool.users())

    def _start_attempt(
        self, pool: TagPool, now: float, users: frozenset[str | None] | None
    ) -> None:
        attempt = pool.attempt = next(self._attempts)
        pool.asked_by = users or NOBODY
        self._refilling[attempt] = pool
        want = max(1, min(pool.shortage, self._limits.max_count))
        demand = pool.measure(now)
        about = (pool.app_tag, want, pool.mark, demand, users, self._ordered)
        self._effects.append(StartRefill(*about, attempt=attempt, stranger=not pool.known))
        self._timers.set(now + self._limits.refill_timeout, (attempt, pool))

    def _end_attempt(self, attempt: int) -> tuple[TagPool, bool]:
        pool = self._refilling.pop(attempt)
        current = pool.attempt == attempt
        if current:
            pool.attempt = None
        return pool, current

    def _abandon(self, pool: TagPool, attempt: int, now: float) -> None:
        if pool.attempt != attempt:
            return
        pool.attempt = None
        self._effects.append(AbandonRefill(attempt))
        reason = f"no answer within {self._limits.refill_timeout:g} s"
        self._fail(pool, reason, now, costly=True)

    def _fail(self, pool: TagPool, reason: str, now: float, *, costly: bool = False) -> None:
        """Note a failed refill; a costly one has lost ids, or may have."""
        limits, jitter = self._limits, self._jitter()
        pool.failures += 1
        pool.refusal = None
        pool.last_error = reason
        pool.retry_at = now + limits.backoff(pool.failures, jitter)
        pool.stay_calm(now, limits.calm(pool.failures, jitter), costly=costly)
        if pool.failures >= limits.max_failures:
            self._refuse_waiters(pool, no_available_id(pool, limits, now), now)
        if pool.waiters:
            self._refill_if_wanted(pool, now)  # sets the timer of the retry
        elif not pool.known:
            self._forget(pool, no_available_id(pool, self._limits, now))

    def _lose(self, pool: TagPool, ids: int) -> None:
        if ids:
            pool = self._pools.setdefault(pool.app_tag, pool)  # it may be forgotten by now
            pool.known = True
            self._strangers.settle(pool.app_tag)
            pool.lose(ids)

    def _forget(self, pool: TagPool, refusal: Denial) -> None:
        """Keep of a tag that never had a segment only why it was refused, and that not for long."""
        self._drop(pool)
        self._refusals.remember(pool.app_tag, refusal, pool.retry_at, pool.failures)

    def _drop(self, pool: TagPool) -> None:
        del self._pools[pool.app_tag]
        self._strangers.settle(pool.app_tag)

    @property
    def by_tag(self) -> Mapping[str, TagPool]:
        """The tags in memory, to look only."""
        return self._pools
