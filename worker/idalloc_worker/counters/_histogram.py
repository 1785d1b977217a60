"""A histogram of durations with fixed buckets: cheap to fill, and counts that add up over time."""

from bisect import bisect_left

REQUEST_BOUNDS = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025),
    *(0.05, 0.1, 0.25, 0.5, 1.0, 2.5),
)
"""Upper bounds in seconds: answers from memory lie far left, those that wait for a refill right."""

REFILL_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Upper bounds in seconds; IDALLOC_REFILL_TIMEOUT, 2 s by default, ends an attempt."""


class Histogram:
    """Counts in buckets; the last one has no upper bound. Owned by one thread."""

    __slots__ = ("bounds", "counts", "seconds")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.seconds = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration; a bound belongs to the bucket below it, as in Prometheus."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.seconds += seconds
