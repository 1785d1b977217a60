"""Shows a client's counters to Prometheus, through the package `prometheus_client`.

    from prometheus_client import REGISTRY
    REGISTRY.register(ClientCollector(client))

Nothing is counted twice and nothing runs in between: each scrape reads `client.stats()`.
"""

from collections.abc import Callable, Iterator
from typing import Protocol

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from idalloc_client._stats import ClientStats, RoundTrips
from idalloc_client.histogram import bound_label

__all__ = ["ClientCollector"]

_Number = Callable[[ClientStats], float]

_COUNTERS: tuple[tuple[str, str, _Number], ...] = (
    ("requests", "Messages on id.alloc; one carries many calls.", lambda s: s.requests),
    ("gathered_calls", "Calls that travelled in these messages.", lambda s: s.gathered),
    ("resent_requests", "Requests sent again after a lost connection.", lambda s: s.resent),
    ("retried_calls", "Calls asked for again because of a worker's answer.", lambda s: s.retried),
    ("ids", "Ids that came.", lambda s: s.ids),
    ("ids_unused", "Ids that came when their caller had gone.", lambda s: s.ids_unused),
    ("late_replies", "Replies that nobody waited for any more.", lambda s: s.late_replies),
    (
        "foreign_replies",
        "Replies ignored because no user that runs workers sent them.",
        lambda s: s.foreign_replies,
    ),
    ("connects", "Times that a channel was opened.", lambda s: s.connects),
    ("connections_lost", "Times that the channel was lost.", lambda s: s.connections_lost),
    ("blocked", "Times that the broker stopped reading from publishers.", lambda s: s.blocked),
    ("leases", "Leases of sequences that came.", lambda s: s.sequences.leases),
    ("leases_failed", "Leases that did not come.", lambda s: s.sequences.leases_failed),
    ("leased_ids", "Ids that sequences leased.", lambda s: s.sequences.ids_leased),
    ("leased_ids_unused", "Leased ids that were given up.", lambda s: s.sequences.ids_unused),
)

_GAUGES: tuple[tuple[str, str, _Number], ...] = (
    ("waiting_calls", "Calls that wait now.", lambda s: s.waiting),
    ("connected", "1 while requests leave at once, else 0.", lambda s: s.connected),
    ("sequences", "Sequences that are open.", lambda s: s.sequences.open),
    ("sequence_ids", "Ids in memory of open sequences.", lambda s: s.sequences.left),
)


class HasStats(Protocol):
    """An `IdClient` or an `AsyncIdClient`."""

    def stats(self) -> ClientStats:
        """Return what was done so far."""


class ClientCollector(Collector):
    """A collector for one client; several clients need a `client` name each.

    Args:
        client: the client.
        name: the value of the label `client`.
    """

    def __init__(self, client: HasStats, name: str = "default") -> None:
        self._client = client
        self._name = name

    def collect(self) -> Iterator[Metric]:
        """Read the client."""
        stats = self._client.stats()
        calls = CounterMetricFamily(
            "idalloc_client_calls", "Calls that ended, by outcome.", labels=["client", "outcome"]
        )
        outcomes = {"served": stats.served, "cancelled": stats.cancelled, **stats.failed}
        for outcome, number in sorted(outcomes.items()):
            calls.add_metric([self._name, outcome], number)
        yield calls
        for name, text, read in _COUNTERS:
            counter = CounterMetricFamily(f"idalloc_client_{name}", text, labels=["client"])
            counter.add_metric([self._name], read(stats))
            yield counter
        for name, text, read in _GAUGES:
            gauge = GaugeMetricFamily(f"idalloc_client_{name}", text, labels=["client"])
            gauge.add_metric([self._name], read(stats))
            yield gauge
        yield self._round_trips(stats.round_trips)

    def describe(self) -> Iterator[Metric]:
        """Name the metrics without reading the client."""
        yield CounterMetricFamily("idalloc_client_calls", "", labels=["client", "outcome"])

    def _round_trips(self, trips: RoundTrips) -> Metric:
        family = HistogramMetricFamily(
            "idalloc_client_round_trip_seconds",
            "Time from sending a request to its reply.",
            labels=["client"],
        )
        buckets = [(bound_label(bound), count) for bound, count in trips.buckets]
        family.add_metric([self._name], buckets, trips.total)
        return family
