"""What a worker counts."""

from idalloc_worker.counters._counters import REFILL_FAILURES, Counters, Events
from idalloc_worker.counters._registry import ORDERED_QUEUES, REFUSED, Event, Outcome
from idalloc_worker.counters._throttle import ThrottledLog

__all__ = [
    "ORDERED_QUEUES",
    "REFILL_FAILURES",
    "REFUSED",
    "Counters",
    "Event",
    "Events",
    "Outcome",
    "ThrottledLog",
]
