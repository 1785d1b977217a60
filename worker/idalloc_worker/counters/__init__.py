"""What a worker counts."""

from idalloc_worker.counters._counters import REFILL_FAILURES, Events, Tallies
from idalloc_worker.counters._registry import ORDERED_QUEUES, REFUSED, Event, Outcome
from idalloc_worker.counters._throttle import ThrottledLog

__all__ = [
    "ORDERED_QUEUES",
    "REFILL_FAILURES",
    "REFUSED",
    "Event",
    "Events",
    "Outcome",
    "Tallies",
    "ThrottledLog",
]
