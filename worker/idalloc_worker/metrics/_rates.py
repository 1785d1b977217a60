"""How fast each tag hands out ids, measured from one look to the next.

This is the one place that knows a tag's present rate.
"""

from math import exp

from idalloc_worker.engine import TagPool

_SMOOTHED_OVER = 30.0  # seconds: a burst shows, and one quiet look does not hide a busy tag
_SHORTEST_LOOK = 2.0  # seconds: two scrapers that come close together share one measurement


class Rates:
    """Ids per second of each tag; `now` is in monotonic seconds."""

    def __init__(self, now: float) -> None:
        self._measured_at = now
        self._seen: dict[str, tuple[int, float]] = {}  # ids handed out and rate, when last measured
        self._elapsed = 0.0
        self._weight = 0.0

    def begin_look(self, now: float) -> None:
        """Begin to look at all tags; what follows is measured since the look before."""
        self._elapsed = now - self._measured_at
        if self._elapsed < _SHORTEST_LOOK:
            self._elapsed = 0.0
            return
        self._measured_at = now
        self._weight = 1 - exp(-self._elapsed / _SMOOTHED_OVER)

    def of(self, pool: TagPool) -> float:
        """Measure a tag, once in each look."""
        seen = self._seen.get(pool.app_tag)
        if not self._elapsed:
            return seen[1] if seen else 0.0
        handed_out, rate = seen or (0, None)
        present = (pool.handed_out - handed_out) / self._elapsed
        rate = present if rate is None else rate + (present - rate) * self._weight
        self._seen[pool.app_tag] = (pool.handed_out, rate)
        return rate
