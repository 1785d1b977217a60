"""Looks now and then whether the rows of the tags in use were set back, and raises those that were.

A refill would notice too, but with segments that last for minutes it comes late: until then nobody
knows that the database has lost commits. Owned by the link's thread; `docs/correctness.md` has the
rules (4, Repair).
"""

import logging
import random
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any, Final

from idalloc_schemas import MAX_ID
from idalloc_worker._runtime import Runtime
from idalloc_worker.counters import Event
from idalloc_worker.engine import Engine, TagPool
from idalloc_worker.fleet import Fleet
from idalloc_worker.store import Job
from idalloc_worker.tags import is_plausible

_log = logging.getLogger("idalloc.refill")

LOOK_INTERVAL: Final = 5.0
"""Seconds, at least, between two looks."""

TAGS_AT_A_TIME: Final = 1000
"""Rows that are read in one look: a few milliseconds of work for the database."""

LATEST: Final = 500
"""Of these, the tags that were reserved from last.

A failover loses the last commits: these are the rows that show it. A restore loses them too.
"""

_SHARE: Final = 0.01  # of the time that a process may spend on these looks, if nothing is wrong
_HASTE: Final = 0.02  # seconds between two looks while it goes through all tags at once


class RowWatch:
    """Begins by itself, and ends with `stop`.

    A look takes the tags that were reserved from last, and then others, which all have their turn.
    A database that was set back has lost commits of many tags, so once a row had to be raised all
    tags are looked at without a pause: one look after the other, each when the rows that the one
    before found are raised, so that refills find their way in between.
    """

    def __init__(self, engines: Sequence[Engine], fleet: Fleet, runtime: Runtime) -> None:
        self._engines = engines
        self._fleet = fleet
        self._refill_threads = runtime.refill_threads
        self._loop = runtime.link
        self._post = runtime.post
        self._counters = runtime.counters.events
        self._clock = runtime.clock
        self._round: Iterator[str] = iter(())  # the tags whose turn is yet to come
        self._in_haste = 0  # so many tags are to be looked at without a pause
        self._raising = 0  # rows
        self._pause = LOOK_INTERVAL
        self._stopped = False
        runtime.post(self._later)

    def stop(self) -> None:
        """Look no more: a worker that stops lowers rows itself."""
        self._stopped = True

    def _later(self) -> None:
        pause = _HASTE if self._in_haste > 0 else self._pause
        self._loop.call_later(pause * (0.9 + 0.2 * random.random()), self._look)  # noqa: S311

    def _look(self) -> None:
        if self._stopped:
            return
        floors = self._next_floors()
        if not floors:
            self._later()
            return
        began = self._clock()

        def report(rows: Any) -> None:
            self._post(lambda: self._on_rows(rows, floors, began))

        tags = tuple(floors)
        self._refill_threads.run(Job(lambda store: store.read_marks(tags), report))

    def _next_floors(self) -> dict[str, int]:
        """Choose tags, and give the end of all that is known to be reserved of each."""
        floors: dict[str, int] = {}
        if self._in_haste <= 0:
            for app_tag in islice(self._fleet.marks.latest(), LATEST):
                self._choose(app_tag, floors)
        for _ in range(2 * TAGS_AT_A_TIME):  # some have no row to look at, some are chosen already
            if len(floors) == TAGS_AT_A_TIME:
                break
            app_tag = next(self._round, "")
            if not app_tag:
                # Names, and as they are now: a walk that takes long must not see the engine change.
                self._round = iter([tag for engine in self._engines for tag in engine.by_tag])
                break
            self._in_haste -= 1
            self._choose(app_tag, floors)
        return floors

    def _choose(self, app_tag: str, floors: dict[str, int]) -> None:
        floor = self._floor(app_tag)
        if floor:
            floors[app_tag] = floor

    def _floor(self, app_tag: str) -> int:
        """Tell how far a tag is known to be reserved; 0 if this worker has not reserved any."""
        mark = max((pool.mark for pool in self._pools(app_tag)), default=0)
        return max(mark, self._fleet.marks.mark(app_tag)) if mark else 0

    def _pools(self, app_tag: str) -> list[TagPool]:
        found = [engine.by_tag.get(app_tag) for engine in self._engines]
        return [pool for pool in found if pool is not None]

    def _is_plausible(self, app_tag: str, mark: int, floor: int) -> bool:
        """Whether the row may be raised so far; a refill that is due refuses the tag if not."""
        pools = self._pools(app_tag)
        end = min((pool.space_used.end for pool in pools), default=MAX_ID)
        own = max((pool.mark for pool in pools), default=0)
        plausible = is_plausible(mark, floor, own, end)
        self._counters[Event.MARKS_IMPLAUSIBLE] += not plausible
        return plausible

    def _on_rows(
        self, rows: Mapping[str, int] | Exception, floors: Mapping[str, int], began: float
    ) -> None:
        self._pause = max(LOOK_INTERVAL, (self._clock() - began) / _SHARE)
        low: dict[str, int] = {}
        if isinstance(rows, Exception):  # the refills say so where it matters
            _log.debug("The rows could not be looked at: %s", rows)
            self._in_haste = 0
        else:
            low = {tag: mark for tag, mark in rows.items() if mark < floors[tag]}
        if low and not self._stopped:
            # Something that explains it may be on its way: a give-back of another worker.
            self._fleet.catch_up(partial(self._raise_rows, low, floors))
        else:
            self._later()

    def _raise_rows(self, low: Mapping[str, int], floors: Mapping[str, int]) -> None:
        for app_tag, mark in low.items():
            floor = min(self._floor(app_tag), floors[app_tag])  # what was heard since has moved it
            if mark < floor and not self._stopped:
                self._raise_row(app_tag, mark, floor)
        if not self._raising:
            self._later()

    def _raise_row(self, app_tag: str, mark: int, floor: int) -> None:
        if not self._is_plausible(app_tag, mark, floor):
            return
        self._raising += 1

        def report(raised: Any) -> None:
            self._post(lambda: on_report(raised))

        def on_report(raised: Any) -> None:
            if raised is True:  # by this worker: others that noticed too find it raised
                self._note(app_tag, mark, floor)
            if isinstance(raised, bool) and self._in_haste <= 0:
                self._in_haste = sum(len(engine.by_tag) for engine in self._engines)
            self._raising -= 1
            if not self._raising:
                self._later()

        self._refill_threads.run(Job(lambda store: store.raise_mark(app_tag, mark, floor), report))

    def _note(self, app_tag: str, mark: int, floor: int) -> None:
        self._counters[Event.REWINDS_REPAIRED] += 1
        _log.warning(
            "The row of %s was rolled back to %d, below ids that were reserved up to %d (a "
            "restore, a failover or an edit); it is raised above them again",
            app_tag,
            mark,
            floor,
        )
