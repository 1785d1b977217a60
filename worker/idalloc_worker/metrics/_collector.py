"""Turns the snapshots of a worker's processes into Prometheus's metric families."""

import importlib.metadata
import platform
import time
from collections.abc import Iterable, Iterator, Sequence

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.core import (
    Metric as Family,
)
from prometheus_client.registry import Collector

from idalloc_client.histogram import bound_label
from idalloc_worker.metrics._names import (
    BUILD_INFO,
    HISTOGRAMS,
    OTHER_TAGS,
    PROCESS_METRICS,
    PROCESS_RESTARTS,
    PROCESS_UP,
    TAG_METRICS,
    WORKER_INFO,
    HistogramMetric,
    Metric,
    TagMetric,
)
from idalloc_worker.metrics._snapshot import Snapshot
from idalloc_worker.metrics._sources import ProcessState, Source

Answered = Sequence[tuple[str, Snapshot]]
"""The processes that answered, by the value of their label."""


class WorkerCollector(Collector):
    """Asks for snapshots at each scrape; keeps nothing of its own, and no global registry."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def collect(self) -> Iterator[Family]:
        """Yield one family after the other."""
        for family in families(self._source.gather()):
            yield family
            # A worker without a supervisor renders beside the thread that answers requests, and
            # lets it run in between; else that waits until the interpreter changes threads, 5 ms.
            time.sleep(0)


def families(states: Sequence[ProcessState]) -> Iterator[Family]:
    """Describe the state of a worker. Pure but for the versions that it names."""
    yield _build_info()
    yield _gauge(PROCESS_UP, [(state.number, state.snapshot is not None) for state in states])
    yield _restarts(states)
    answered = [(str(s.number), s.snapshot) for s in states if s.snapshot is not None]
    yield _worker_info(answered)
    for metric in PROCESS_METRICS:
        yield _process_family(metric, answered)
    for histogram in HISTOGRAMS:
        yield _histogram_family(histogram, answered)
    for tag_metric in TAG_METRICS:
        yield _tag_family(tag_metric, answered)


def _build_info() -> Family:
    family = GaugeMetricFamily(*BUILD_INFO, labels=("version", "python"))
    family.add_metric((importlib.metadata.version("idalloc"), platform.python_version()), 1)
    return family


def _worker_info(answered: Answered) -> Family:
    family = GaugeMetricFamily(*WORKER_INFO, labels=("process", "worker"))
    for process, snapshot in answered:
        family.add_metric((process, snapshot.worker), 1)
    return family


def _gauge(name_and_help: tuple[str, str], samples: Iterable[tuple[int, float]]) -> Family:
    family = GaugeMetricFamily(*name_and_help, labels=("process",))
    for number, value in samples:
        family.add_metric((str(number),), value)
    return family


def _restarts(states: Sequence[ProcessState]) -> Family:
    family = CounterMetricFamily(*PROCESS_RESTARTS, labels=("process",))
    for state in states:
        family.add_metric((str(state.number),), state.restarts)
    return family


def _process_family(metric: Metric, answered: Answered) -> Family:
    family = metric.kind(metric.name, metric.help, labels=("process", *metric.labels))
    for process, snapshot in answered:
        for labels, value in metric.read(snapshot):
            family.add_metric((process, *labels), value)
    return family


def _histogram_family(metric: HistogramMetric, answered: Answered) -> Family:
    family = HistogramMetricFamily(metric.name, metric.help, labels=("process",))
    for process, snapshot in answered:
        histogram = metric.read(snapshot)
        buckets = [(bound_label(bound), count) for bound, count in histogram.cumulative()]
        family.add_metric((process,), buckets, histogram.seconds)
    return family


def _tag_family(metric: TagMetric, answered: Answered) -> Family:
    family = metric.kind(metric.name, metric.help, labels=("process", "tag"))
    for process, snapshot in answered:
        for tag in snapshot.tags:
            value = metric.read(tag)
            if value is not None:
                family.add_metric((process, OTHER_TAGS if tag.tag is None else tag.tag), value)
    return family
