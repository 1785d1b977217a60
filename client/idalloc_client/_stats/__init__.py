"""What a client counts."""

from idalloc_client._stats._counters import ClientCounters, LeaseCounters
from idalloc_client._stats._stats import (
    ClientStats,
    RoundTrips,
    SequenceStats,
    sequence_stats,
    snapshot,
)
from idalloc_client._stats._tracing import Carrier, capture

__all__ = [
    "Carrier",
    "ClientCounters",
    "ClientStats",
    "LeaseCounters",
    "RoundTrips",
    "SequenceStats",
    "capture",
    "sequence_stats",
    "snapshot",
]
