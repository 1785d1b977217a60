"""A histogram of durations with fixed buckets: cheap to fill, and counts that add up over time."""

from bisect import bisect_left
from dataclasses import dataclass, field
from itertools import accumulate
from math import inf


@dataclass(slots=True)
class Histogram:
    """Counts in buckets; the last one has no upper bound. One thread writes, any may `copy` it."""

    bounds: tuple[float, ...]
    """Upper bounds in seconds."""
    counts: list[int] = field(default_factory=list)
    seconds: float = 0.0
    """The sum of what was counted."""

    def __post_init__(self) -> None:
        self.counts = self.counts or [0] * (len(self.bounds) + 1)

    def observe(self, seconds: float) -> None:
        """Count one duration; a bound belongs to the bucket below it, as in Prometheus."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.seconds += seconds

    def copy(self) -> "Histogram":
        """Copy what was counted so far."""
        return Histogram(self.bounds, list(self.counts), self.seconds)

    def cumulative(self) -> list[tuple[float, int]]:
        """List each bound, the last one infinite, with the durations that took no longer."""
        return list(zip((*self.bounds, inf), accumulate(self.counts), strict=True))


def bound_label(bound: float) -> str:
    """Write an upper bound as Prometheus does."""
    return "+Inf" if bound == inf else str(bound)
