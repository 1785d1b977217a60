"""What a worker counts."""

from idalloc_worker.counters._counters import (
    ANSWERED,
    DEAD_LETTERED,
    DOUBTED,
    DROPPED,
    EXPIRED,
    GRANTED,
    HANDED_BACK,
    LIMITED,
    ORDERED_QUEUES,
    OUTCOMES,
    REFILL_FAILURES,
    Tallies,
)
from idalloc_worker.counters._throttle import ThrottledLog

__all__ = [
    "ANSWERED",
    "DEAD_LETTERED",
    "DOUBTED",
    "DROPPED",
    "EXPIRED",
    "GRANTED",
    "HANDED_BACK",
    "LIMITED",
    "ORDERED_QUEUES",
    "OUTCOMES",
    "REFILL_FAILURES",
    "Tallies",
    "ThrottledLog",
]
