"""Returns what a stopping worker has left to the database, so that a deploy wastes no ids.

Owned by the link's thread. `docs/correctness.md` says why this can never lead to a duplicate.
"""

import logging
from collections import defaultdict, deque
from collections.abc import Callable, Iterable

from idalloc_worker._runtime import Runtime
from idalloc_worker.counters import Event
from idalloc_worker.engine import Range, TagPool
from idalloc_worker.fleet import Fleet
from idalloc_worker.store import GiveBack

_log = logging.getLogger("idalloc.refill")

_AT_A_TIME = 32
"""Tags whose rows are being lowered: enough for the threads, few enough to stop when time is up."""


class GiveBacks:
    """For one stop. Each tag gives back its last ids first, then, if that worked, those before.

    A range is first taken out of memory and told to all others as surrendered, which is true
    whatever becomes of the rest; then the row is lowered in one statement, which is never repeated.
    """

    def __init__(self, fleet: Fleet, runtime: Runtime) -> None:
        self._fleet = fleet
        self._refill_threads = runtime.refill_threads
        self._post = runtime.post
        self._counters = runtime.counters.events
        self._waiting: deque[TagPool] = deque()
        self._pools: defaultdict[str, list[TagPool]] = defaultdict(list)  # of each tag
        self._under_way: dict[TagPool, int] = {}  # how many ids each is giving back
        self._on_done: Callable[[], None] | None = None
        self._over = False

    def start(self, pools: Iterable[TagPool], on_done: Callable[[], None]) -> None:
        """Begin; `on_done` once every tag is done with."""
        if self._over:
            return
        self._on_done = on_done
        pools = list(pools)
        for pool in pools:
            self._pools[pool.app_tag].append(pool)
        if self._fleet.speaking or self._fleet.unprotected:
            # The largest first, should the time not do for all.
            held = (pool for pool in pools if pool.remaining)
            self._waiting.extend(sorted(held, key=lambda pool: -pool.remaining))
        self._go_on()

    def give_up(self, on_done: Callable[[], None]) -> None:
        """End it if it has not ended. What is under way may still succeed, counted as lost."""
        if not self._over:
            self._waiting.clear()
            for pool, ids in self._under_way.items():
                pool.kept_back(ids)
            self._under_way.clear()
            self._on_done = on_done
            self._go_on()

    def _go_on(self) -> None:
        while self._waiting and len(self._under_way) < _AT_A_TIME:
            self._surrender(self._waiting.popleft())
        if not self._under_way and not self._waiting and self._on_done is not None:
            on_done, self._on_done = self._on_done, None
            self._over = True
            on_done()

    def _surrender(self, pool: TagPool) -> None:
        tail = pool.surrender_tail()
        if tail is None:
            return
        left, right = tail
        self._under_way[pool] = right - left

        def lower_row() -> None:
            self._refill_threads.give_back(
                GiveBack(
                    pool.app_tag,
                    left,
                    right,
                    lambda outcome: self._post(lambda: self._lowered(pool, tail, outcome)),
                )
            )

        if self._fleet.unprotected:
            lower_row()
        else:
            # What others must go on counting with: both engines may have had the tag.
            rest = max(each.reach for each in self._pools[pool.app_tag])
            self._fleet.surrender(pool.app_tag, left, right, rest, lower_row)

    def _lowered(
        self,
        pool: TagPool,
        tail: Range,
        outcome: bool | Exception,  # noqa: FBT001  # what the refill thread says
    ) -> None:
        if outcome is False:  # it lies below others' ids; the row is to stay above it
            self._fleet.keep(pool.app_tag, *tail)
        ids = self._under_way.pop(pool, None)
        if ids is None:
            return  # given up
        if outcome is True:
            pool.gave_back(ids)
            self._counters[Event.GIVE_BACKS] += 1
            self._surrender(pool)
        else:
            pool.kept_back(ids)
            self._counters[Event.GIVE_BACKS_FAILED] += 1
            if isinstance(outcome, Exception):
                _log.warning("%d ids of %s are lost: %s", ids, pool.app_tag, outcome)
        self._go_on()
