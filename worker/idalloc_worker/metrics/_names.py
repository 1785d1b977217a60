"""Every metric of a worker: its name, its labels, and what it means in one sentence.

The tables say how to read each from a snapshot; `docs/monitoring.md` shows them to operators.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from idalloc_client.histogram import Histogram
from idalloc_worker.counters import Event
from idalloc_worker.metrics._snapshot import Snapshot, TagSnapshot

OTHER_TAGS: Final = "all others"
"""The `tag` of those without series of their own; no tag has a space in its name."""


Kind = type[CounterMetricFamily] | type[GaugeMetricFamily]
"""A counter's name is exposed with `_total` behind it."""

Labelled = Iterable[tuple[tuple[str, ...], float]]
"""Values of the labels, and the sample that belongs to them."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric with a sample, or several with different labels, for each process."""

    name: str
    kind: Kind
    help: str
    read: Callable[[Snapshot], Labelled]
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HistogramMetric:
    """A histogram for each process."""

    name: str
    help: str
    read: Callable[[Snapshot], Histogram]


@dataclass(frozen=True, slots=True)
class TagMetric:
    """A metric with a sample for each tag of each process; None leaves it out."""

    name: str
    kind: Kind
    help: str
    read: Callable[[TagSnapshot], float | None]


def _one(read: Callable[[Snapshot], float | None]) -> Callable[[Snapshot], Labelled]:
    def labelled(snapshot: Snapshot) -> Labelled:
        value = read(snapshot)
        return [] if value is None else [((), value)]

    return labelled


def _counter(name: str, text: str, read: Callable[[Snapshot], float]) -> Metric:
    return Metric(name, CounterMetricFamily, text, _one(read))


def _event(event: Event) -> Metric:
    return _counter(f"idalloc_{event.metric}", event.help, lambda snapshot: snapshot.events[event])


def _gauge(name: str, text: str, read: Callable[[Snapshot], float | None]) -> Metric:
    return Metric(name, GaugeMetricFamily, text, _one(read))


def _tag_counter(name: str, text: str, read: Callable[[TagSnapshot], float]) -> TagMetric:
    return TagMetric(name, CounterMetricFamily, text, read)


def _tag_gauge(name: str, text: str, read: Callable[[TagSnapshot], float | None]) -> TagMetric:
    return TagMetric(name, GaugeMetricFamily, text, read)


def _outcomes(snapshot: Snapshot) -> Labelled:
    for queue, counts in snapshot.outcomes.items():
        yield from (((queue, name), count) for name, count in counts.items())


def _reconnects(snapshot: Snapshot) -> float:
    return max(snapshot.events[Event.CONNECTS] - 1, 0)


PROCESS_METRICS: Final = (
    Metric(
        "idalloc_requests",
        CounterMetricFamily,
        "Requests that have ended, by queue and by how they ended.",
        _outcomes,
        ("queue", "outcome"),
    ),
    Metric(
        "idalloc_requests_limited",
        CounterMetricFamily,
        "Requests answered BUSY because their RabbitMQ user exceeded its share: one series for "
        "each of the first 32 such users, and one for all others together.",
        lambda it: [((user,), count) for user, count in it.limited.items()],
        ("user",),
    ),
    *(_event(event) for event in Event if event.metric),
    _gauge("idalloc_waiters", "Requests that wait for a refill.", lambda it: it.waiters),
    _counter(
        "idalloc_ids_handed_out", "Ids handed out to callers, all tags.", lambda it: it.handed_out
    ),
    _counter("idalloc_ids_reserved", "Ids reserved in the database.", lambda it: it.reserved),
    _counter(
        "idalloc_ids_lost",
        "Ids reserved, or perhaps reserved, that will never be handed out; those in the memory of "
        "a process that ends are not among them.",
        lambda it: it.lost,
    ),
    _counter(
        "idalloc_ids_given_back",
        "Ids returned to the database by a process that stops; the next reservation has them.",
        lambda it: it.given_back,
    ),
    _gauge("idalloc_ids_left", "Ids in memory, all tags.", lambda it: it.left),
    _gauge("idalloc_tags", "Tags in memory.", lambda it: it.tags_held),
    Metric(
        "idalloc_refill_failures",
        CounterMetricFamily,
        "Refills that brought no segment, by reason.",
        lambda it: [((reason,), count) for reason, count in it.refill_failures.items()],
        ("reason",),
    ),
    _gauge("idalloc_refills_in_flight", "Refills under way.", lambda it: it.refills_in_flight),
    _gauge(
        "idalloc_marks_in_broker",
        "Whether the broker remembers what was reserved, in case all workers are down; absent "
        "before that is known.",
        lambda it: it.marks_in_broker,
    ),
    _gauge(
        "idalloc_database_reachable",
        "Whether the database could be used when it was last needed; absent before that.",
        lambda it: it.database_reachable,
    ),
    _gauge(
        "idalloc_broker_connected",
        "Whether the process has a channel to the broker.",
        lambda it: it.connected,
    ),
    _counter("idalloc_broker_reconnects", "Channels opened after the first one.", _reconnects),
    _gauge(
        "idalloc_broker_blocked",
        "Whether the broker blocks publishers, for lack of memory or disk space.",
        lambda it: it.blocked,
    ),
    _counter("idalloc_cpu_seconds", "CPU time used by the process.", lambda it: it.cpu_seconds),
    _gauge(
        "idalloc_start_time_seconds",
        "When the process started, in seconds since the epoch.",
        lambda it: it.started_at,
    ),
)

HISTOGRAMS: Final = (
    HistogramMetric(
        "idalloc_request_duration_seconds",
        "From the delivery of a request for ids until its reply is written.",
        lambda it: it.latency,
    ),
    HistogramMetric(
        "idalloc_refill_duration_seconds",
        "How long the database took for a refill, failed ones included.",
        lambda it: it.refill_time,
    ),
)

TAG_METRICS: Final = (
    _tag_counter(
        "idalloc_tag_ids_handed_out", "Ids handed out to callers.", lambda t: t.handed_out
    ),
    _tag_counter("idalloc_tag_ids_reserved", "Ids reserved in the database.", lambda t: t.reserved),
    _tag_counter(
        "idalloc_tag_ids_lost",
        "Ids reserved, or perhaps reserved, that will never be handed out.",
        lambda t: t.lost,
    ),
    _tag_counter(
        "idalloc_tag_ids_given_back",
        "Ids returned to the database by a process that stops.",
        lambda t: t.given_back,
    ),
    _tag_gauge("idalloc_tag_ids_left", "Ids in memory.", lambda t: t.left),
    _tag_gauge(
        "idalloc_tag_cover_seconds",
        "How long the ids in memory last at the present rate, at most a day; absent where no ids "
        "are being handed out.",
        lambda t: t.cover,
    ),
    _tag_gauge("idalloc_tag_waiters", "Requests that wait for a refill.", lambda t: t.waiters),
    _tag_gauge(
        "idalloc_tag_step", "Step of the tag's row as of the last refill.", lambda t: t.step or None
    ),
    _tag_gauge(
        "idalloc_tag_refills_failing",
        "Refills that failed in a row; 0 when one succeeds.",
        lambda t: t.failures,
    ),
    _tag_gauge(
        "idalloc_tag_id_space_used_ratio",
        "Share of the tag's id space that is used up, from 0 to 1.",
        lambda t: t.space_used,
    ),
)

PROCESS_UP: Final = (
    "idalloc_process_up",
    "Whether the worker process runs and answers; without it, its other metrics are absent.",
)
PROCESS_RESTARTS: Final = (
    "idalloc_process_restarts",
    "Times that the supervisor started the process again after it had ended.",
)
WORKER_INFO: Final = (
    "idalloc_worker_info",
    "Always 1; the label is the name by which health and RabbitMQ know the process.",
)
BUILD_INFO: Final = ("idalloc_build_info", "Always 1; the labels name what runs.")
