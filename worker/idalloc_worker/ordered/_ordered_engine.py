"""The engine of an owner of partitions: what it hands out lies above all that was reserved before.

Pure, like the engine it is built on. What an owner holds is in order only as long as nobody has
reserved since: not while the tag was an ordinary one for a while, and not another owner. A worker
that reserves tells all others, the row shows it, and the next segment does not begin where the last
one ended. Each of the three is evidence enough to drop what is held. `docs/order.md` has the rules.
"""

import random
from collections.abc import Callable, Iterator

from idalloc_worker.engine import Engine, EngineLimits, TagPool
from idalloc_worker.tags import Segment, TagSettings


class OrderedEngine(Engine):
    """Drops what came out of order, and reserves nothing more once its partitions are given up."""

    def __init__(
        self,
        limits: EngineLimits,
        *,
        attempts: Iterator[int] | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        super().__init__(limits, ordered=True, attempts=attempts, jitter=jitter)
        self._seen: dict[str, int] = {}
        """How far tags are reserved, as was seen while a refill of theirs was under way."""
        self._retired = False
        self._late: list[tuple[int, Segment, TagSettings]] = []

    def reserved_by_others(self, app_tag: str, end: int) -> int:
        """Take in that somebody else reserved up to `end`; tells how many ids that makes void."""
        pool = self._pools.get(app_tag)
        if pool is None or end <= pool.mark:
            return 0
        self._note(pool, end)
        return pool.drop_all()

    def row_read(self, app_tag: str, max_id: int) -> int:
        """Take in how far the row says the tag is reserved; tells how many ids that makes void."""
        pool = self._pools.get(app_tag)
        if pool is None or max_id <= pool.mark:
            return 0
        if pool.attempt is None:
            return pool.drop_all()
        # The refill under way may have moved the row: its end tells, so everybody waits for that.
        self._note(pool, max_id)
        pool.bar(barred=True)
        return 0

    def drop(self, app_tag: str) -> int:
        """Give up what is held of a tag that is not ordered any more; tells how many ids."""
        pool = self._pools.get(app_tag)
        return 0 if pool is None else pool.drop_all()

    def retire(self) -> None:
        """Reserve no more, and hand out nothing but what is held: others may own partitions now.

        They have reserved, perhaps before a refill of ours that is under way. What that brings is
        kept until `close`, to be given back.
        """
        self._retired = True

    def close(self, now: float) -> None:
        """Stop waiting, and keep what came since `retire` for who gives it back."""
        super().close(now)
        self._take_in_late(now)

    def void(self) -> None:
        """Lose all that is in memory."""
        super().void()
        self._seen.clear()
        self._take_in_late(0.0)  # their attempts have ended: it counts them as lost

    def segment_arrived(
        self, attempt: int, segment: Segment, settings: TagSettings, now: float
    ) -> bool:
        """Take in a committed reservation. False: it came too late or too low, and is lost."""
        if self._retired and not self._closing:
            self._late.append((attempt, segment, settings))
            return True
        pool = self._refilling[attempt]
        if pool.attempt == attempt and segment.size:
            if segment.right < self._seen.pop(pool.app_tag, 0):
                self._lose_overtaken(attempt, segment, now)
                return False
            if segment.left > pool.mark:  # somebody else has reserved in between
                pool.drop_all()
            pool.bar(barred=False)
        return super().segment_arrived(attempt, segment, settings, now)

    def _lose_overtaken(self, attempt: int, segment: Segment, now: float) -> None:
        """Go on with the next segment: that one lies above all that was seen."""
        pool, _ = self._end_attempt(attempt)
        pool.drop_all()
        self._lose(pool, segment.size)
        if pool.waiters:
            self._refill_if_wanted(pool, now)

    def _take_in_late(self, now: float) -> None:
        late, self._late = self._late, []
        for attempt, segment, settings in late:
            super().segment_arrived(attempt, segment, settings, now)

    def _note(self, pool: TagPool, end: int) -> None:
        """Remember until the end of a refill; one that begins later reserves above it anyway."""
        if pool.attempt is not None:
            self._seen[pool.app_tag] = max(end, self._seen.get(pool.app_tag, 0))

    def _start_attempt(
        self, pool: TagPool, now: float, users: frozenset[str | None] | None
    ) -> None:
        if not self._retired:
            super()._start_attempt(pool, now, users)

    def _end_attempt(self, attempt: int) -> tuple[TagPool, bool]:
        pool, current = super()._end_attempt(attempt)
        if current:
            self._drop_if_seen_above(pool)
        return pool, current

    def _abandon(self, pool: TagPool, attempt: int, now: float) -> None:
        if pool.attempt == attempt:
            self._drop_if_seen_above(pool)
        super()._abandon(pool, attempt, now)

    def _drop_if_seen_above(self, pool: TagPool) -> None:
        """Drop what is held where a refill ends that does not explain what was seen."""
        if self._seen.pop(pool.app_tag, 0) > pool.mark:
            pool.drop_all()
        if pool.barred:
            pool.bar(barred=False)

    def _may_take(self, pool: TagPool, count: int, user: str | None) -> bool:
        return not pool.barred and super()._may_take(pool, count, user)

    def _serve(self, pool: TagPool, now: float) -> None:
        if not pool.barred:
            super()._serve(pool, now)
