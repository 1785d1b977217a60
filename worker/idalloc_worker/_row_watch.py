"""Looks now and then whether the rows of the tags in use were set back, and raises those that were.

A refill would notice too, but with segments that last for minutes it comes late: until then nobody
knows that the database has lost commits. Owned by the link's thread; `docs/correctness.md` has the
rules (4, Repair).
"""

import logging
import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any, Final

from idalloc_client._link_thread import LinkThread
from idalloc_worker._engine import Engine
from idalloc_worker._fleet import Fleet
from idalloc_worker._refiller import Errand, Refiller
from idalloc_worker._tallies import Tallies

_log = logging.getLogger("idalloc.refill")

LOOK_INTERVAL: Final = 5.0
"""Seconds, at least, between two looks."""

_SHARE: Final = 0.01  # of the time that a process may spend on these looks
_TAGS_AT_A_TIME: Final = 1000


class RowWatch:
    """Begins by itself, and ends with `stop`."""

    def __init__(  # noqa: PLR0913, PLR0917  # its surroundings
        self,
        engines: Sequence[Engine],
        fleet: Fleet,
        refiller: Refiller,
        thread: LinkThread,
        tallies: Tallies,
        clock: Callable[[], float],
    ) -> None:
        self._engines = engines
        self._fleet = fleet
        self._refiller = refiller
        self._loop = thread.link
        self._post = thread.post
        self._counters = tallies.events
        self._clock = clock
        self._seen: set[str] = set()  # tags that were looked at in this round: all, in turn
        self._stopped = False
        thread.post(lambda: self._later(LOOK_INTERVAL))

    def stop(self) -> None:
        """Look no more: a worker that stops lowers rows itself."""
        self._stopped = True

    def _later(self, pause: float) -> None:
        self._loop.call_later(pause * (0.9 + 0.2 * random.random()), self._look)  # noqa: S311

    def _look(self) -> None:
        if self._stopped:
            return
        unseen = (item for item in self._floors().items() if item[0] not in self._seen)
        floors = dict(islice(unseen, _TAGS_AT_A_TIME))
        if not floors:
            self._seen.clear()
            self._later(LOOK_INTERVAL)
            return
        self._seen.update(floors)
        began = self._clock()

        def report(rows: Any) -> None:
            self._post(lambda: self._on_rows(rows, floors, began))

        tags = tuple(floors)
        self._refiller.run(Errand(lambda store: store.read_marks(tags), report))

    def _floors(self) -> dict[str, int]:
        """Give the tags in use, each with the end of all that is known to be reserved of it."""
        floors: dict[str, int] = {}
        for engine in self._engines:
            for pool in engine.pools():
                if pool.mark:
                    known = self._fleet.marks.mark(pool.app_tag)
                    floors[pool.app_tag] = max(pool.mark, known, floors.get(pool.app_tag, 0))
        return floors

    def _on_rows(
        self, rows: Mapping[str, int] | Exception, floors: Mapping[str, int], began: float
    ) -> None:
        if isinstance(rows, Exception):  # the refills say so where it matters
            _log.debug("The rows could not be looked at: %s", rows)
        elif not self._stopped:
            low = {tag: mark for tag, mark in rows.items() if mark < floors[tag]}
            if low:
                # Something that explains it may be on its way: a give-back of another worker.
                self._fleet.catch_up(partial(self._raise_rows, low, floors))
        self._later(max(LOOK_INTERVAL, (self._clock() - began) / _SHARE))

    def _raise_rows(self, low: Mapping[str, int], floors: Mapping[str, int]) -> None:
        now = self._floors()
        for app_tag, mark in low.items():
            floor = now.get(app_tag, 0)
            if mark < min(floor, floors[app_tag]) and not self._stopped:
                self._raise_row(app_tag, mark, floor)

    def _raise_row(self, app_tag: str, mark: int, floor: int) -> None:
        def report(raised: Any) -> None:
            if raised is True:  # by this worker: others that noticed too find it raised
                self._post(note)

        def note() -> None:
            self._counters["rewinds_repaired"] += 1
            _log.warning(
                "The row of %s was set back to %d, below ids that were reserved up to %d (a "
                "restore, a failover or an edit); it is raised above them again",
                app_tag,
                mark,
                floor,
            )

        self._refiller.run(Errand(lambda store: store.raise_mark(app_tag, mark, floor), report))
