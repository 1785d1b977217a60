"""What a client counts."""

from idalloc_client._stats._counters import ClientCounters, LeaseCounters
from idalloc_client._stats._stats import (
    ClientStats,
    RoundTrips,
    SequenceStats,
    sequence_stats,
    snapshot,
)

__all__ = [
    "ClientCounters",
    "ClientStats",
    "LeaseCounters",
    "RoundTrips",
    "SequenceStats",
    "sequence_stats",
    "snapshot",
]
