"""What a client has done so far, for the application to read."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from idalloc_client._stats._counters import ClientCounters, LeaseCounters
from idalloc_client.histogram import Histogram


@dataclass(frozen=True, slots=True)
class RoundTrips:
    """How long requests took from leaving to their reply, in seconds."""

    count: int
    total: float
    buckets: tuple[tuple[float, int], ...]
    """`(upper bound, requests that took no longer)`, cumulative; the last bound is infinite."""

    @property
    def mean(self) -> float:
        """The average, or 0 where there was none."""
        return self.total / self.count if self.count else 0.0

    @classmethod
    def of(cls, histogram: Histogram) -> "RoundTrips":
        buckets = tuple(histogram.cumulative())
        return cls(buckets[-1][1], histogram.seconds, buckets)


@dataclass(frozen=True, slots=True)
class SequenceStats:
    """All sequences of a client together."""

    open: int = 0
    left: int = 0
    """Ids in memory."""
    leases: int = 0
    leases_failed: int = 0
    ids_leased: int = 0
    ids_unused: int = 0
    """Leased ids that were given up when their sequence was closed."""


@dataclass(frozen=True, slots=True)
class ClientStats:
    """Counters since the client was made, and what waits at this moment.

    A call is one `next_id` or `next_ids`, or one lease of a sequence. Every call that ended is in
    exactly one of `served`, `failed` and `cancelled`.
    """

    served: int
    """Calls that got their ids."""
    failed: Mapping[str, int]
    """Calls that got an error, by the name of its class."""
    cancelled: int
    """Calls whose task was cancelled, or whose thread was interrupted."""
    waiting: int
    """Calls that wait now."""
    requests: int
    """Messages on `id.alloc`, those sent again not counted; one carries many calls."""
    gathered: int
    """Calls that were in them; one that was asked for again counts again."""
    resent: int
    """Requests sent again after a lost connection."""
    retried: int
    """Calls asked for again because of what a worker answered."""
    ids: int
    """Ids that came."""
    ids_unused: int
    """Ids that came when their caller had gone."""
    late_replies: int
    connects: int
    connections_lost: int
    blocked: int
    """Times that the broker, short of memory or disk, stopped reading."""
    connected: bool
    round_trips: RoundTrips
    sequences: SequenceStats = field(default_factory=SequenceStats)
    foreign_replies: int = 0
    """Replies that were ignored, as none of the users in `workers` had sent them."""

    @property
    def timed_out(self) -> int:
        """Calls that ended at their deadline."""
        return self.failed.get("CallTimeoutError", 0) + self.failed.get("ConnectionLostError", 0)

    @property
    def calls(self) -> int:
        """All calls so far, those that wait included."""
        return self.served + sum(self.failed.values()) + self.cancelled + self.waiting

    @property
    def calls_per_request(self) -> float:
        """How many calls shared a request on average, or 0 where there was none."""
        return self.gathered / self.requests if self.requests else 0.0


def snapshot(
    counters: ClientCounters, *, waiting: int, connected: bool, sequences: SequenceStats
) -> ClientStats:
    """Copy what was counted; the owner may go on counting meanwhile.

    `waiting` includes those that ran out of time, and were counted so, as long as they are not
    found to have gone.
    """
    cancelled = counters.cancelled()
    ended = cancelled - counters.abandoned
    return ClientStats(
        served=counters.served,
        failed=counters.copy_of_failed(),
        cancelled=cancelled,
        waiting=max(waiting - ended, 0),
        requests=counters.requests,
        gathered=counters.gathered,
        resent=counters.resent,
        retried=counters.retried,
        ids=counters.ids,
        ids_unused=counters.ids_unused,
        late_replies=counters.late_replies,
        foreign_replies=counters.foreign_replies,
        connects=counters.connects,
        connections_lost=counters.connections_lost,
        blocked=counters.blocked,
        connected=connected,
        round_trips=RoundTrips.of(counters.round_trip),
        sequences=sequences,
    )


def sequence_stats(counters: LeaseCounters, remaining: list[int]) -> SequenceStats:
    """Copy what sequences counted; `remaining` has the ids in memory of each that is open."""
    return SequenceStats(
        open=len(remaining),
        left=sum(remaining),
        leases=counters.leases,
        leases_failed=counters.leases_failed,
        ids_leased=counters.ids,
        ids_unused=counters.ids_unused,
    )
