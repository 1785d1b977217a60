"""Decides which tags have series of their own, so that their number stays bounded.

Counters must only rise, also when a tag gets or loses its series: else Prometheus would take it for
a restart, and count everything twice. So the series of a tag that takes a place later begins at 0,
and what it had counted before stays with the rest.
"""

import heapq
from dataclasses import dataclass
from operator import itemgetter
from typing import Final

from idalloc_worker.engine import TagPool
from idalloc_worker.metrics._rates import Rates
from idalloc_worker.metrics._snapshot import TagSnapshot
from idalloc_worker.tags import space_used

PLACES: Final = 200
"""Tags of one process that have series of their own: a dozen series each."""

_BUSIER: Final = 2.0  # a tag takes another's place if it is so many times as busy
_LOWEST_RATE: Final = 0.01  # ids per second: below it, a tag is not in use
_LONGEST_COVER: Final = 86_400.0  # seconds: a day or more

_Counts = tuple[int, int, int, int]  # handed out, reserved, lost, given back
_ZERO: Final[_Counts] = (0, 0, 0, 0)


def space_share(pool: TagPool) -> float:
    """Tell which share of a tag's ids lies below its mark, from 0 to 1."""
    ceiling = None if pool.settings is None else pool.settings.ceiling
    return space_used(pool.mark, ceiling).percent / 100


def cover_seconds(left: int, rate: float) -> float | None:
    """Tell how long `left` ids last at `rate` ids per second, at most a day; None if unused."""
    return None if rate < _LOWEST_RATE else min(left / rate, _LONGEST_COVER)


@dataclass(slots=True)
class _Place:
    """A tag's series: what it had counted before does not belong to it."""

    base: _Counts
    shown: _Counts = _ZERO
    rate: float = 0.0


class TagSeries:
    """One process's series of tags. Owned by its I/O thread; begin, look at each tag, end."""

    def __init__(self, now: float, places: int = PLACES) -> None:
        self._rates = Rates(now)
        self._limit = places
        self._places: dict[str, _Place] = {}
        self._retired = _ZERO  # what was shown by series that have ended
        self._start_look()

    def _start_look(self) -> None:
        self._shown: list[TagSnapshot] = []
        self._challengers: list[tuple[float, str, _Counts]] = []  # a heap: the busiest ones
        self.totals = _ZERO
        self.held = self.left = self.waiters = self.refilling = 0
        self._rest = _Rest()

    def begin(self, now: float) -> None:
        """Begin a look at all tags."""
        self._rates.begin_look(now)
        self._start_look()

    def look(self, pool: TagPool) -> None:
        """Take in one tag; each once between `begin` and `end`."""
        self.waiters += pool.waiters
        self.refilling += pool.attempt is not None
        if not pool.known:
            return  # names that are no tags are never shown: anybody can make up any number
        counts = (pool.handed_out, pool.reserved, pool.lost, pool.given_back)
        rate = self._rates.of(pool)
        self.totals = _add(self.totals, counts)
        self.held += 1
        self.left += pool.remaining
        place = self._places.get(pool.app_tag)
        if place is None and len(self._places) < self._limit:
            place = self._places[pool.app_tag] = _Place(_ZERO)
        if place is not None:
            place.shown, place.rate = _less(counts, place.base), rate
            self._shown.append(_describe(pool, place.shown, rate))
            return
        self._rest.add(pool, rate)
        candidate = (rate, pool.app_tag, counts)
        if len(self._challengers) < self._limit:
            heapq.heappush(self._challengers, candidate)
        else:
            heapq.heappushpop(self._challengers, candidate)

    def end(self) -> tuple[TagSnapshot, ...]:
        """Describe the tags with series of their own, then all others together."""
        if not self._rest.tags and self._retired == _ZERO:
            return tuple(self._shown)
        named = self._retired
        for place in self._places.values():
            named = _add(named, place.shown)
        rest = self._rest.describe(_less(self.totals, named))
        self._reassign()
        return (*self._shown, rest)

    def _reassign(self) -> None:
        """Give the places of the quietest tags to those that are far busier, from now on."""
        busiest = sorted(self._challengers, reverse=True)
        quietest = sorted(
            ((place.rate, tag) for tag, place in self._places.items()), key=itemgetter(0)
        )
        for (rate, tag, counts), (least, loser) in zip(busiest, quietest, strict=False):
            if rate < max(least * _BUSIER, _LOWEST_RATE):
                return
            self._retired = _add(self._retired, self._places.pop(loser).shown)
            self._places[tag] = _Place(base=counts)


class _Rest:
    """Sums up the tags without a series of their own."""

    def __init__(self) -> None:
        self.tags = self._left = self._waiters = self._failures = 0
        self._space = 0.0
        self._cover: float | None = None

    def add(self, pool: TagPool, rate: float) -> None:
        self.tags += 1
        self._left += pool.remaining
        self._waiters += pool.waiters
        self._failures = max(self._failures, pool.failures)
        self._space = max(self._space, space_share(pool))
        cover = cover_seconds(pool.remaining, rate)
        if cover is not None:
            self._cover = cover if self._cover is None else min(self._cover, cover)

    def describe(self, counts: _Counts) -> TagSnapshot:
        return TagSnapshot(
            None,
            *counts,
            left=self._left,
            waiters=self._waiters,
            step=0,
            failures=self._failures,
            space_used=self._space,
            cover=self._cover,
        )


def _describe(pool: TagPool, counts: _Counts, rate: float) -> TagSnapshot:
    return TagSnapshot(
        pool.app_tag,
        *counts,
        left=pool.remaining,
        waiters=pool.waiters,
        step=0 if pool.settings is None else pool.settings.step,
        failures=pool.failures,
        space_used=space_share(pool),
        cover=cover_seconds(pool.remaining, rate),
    )


def _add(first: _Counts, second: _Counts) -> _Counts:
    return (
        first[0] + second[0],
        first[1] + second[1],
        first[2] + second[2],
        first[3] + second[3],
    )


def _less(first: _Counts, second: _Counts) -> _Counts:
    return (
        first[0] - second[0],
        first[1] - second[1],
        first[2] - second[2],
        first[3] - second[3],
    )
