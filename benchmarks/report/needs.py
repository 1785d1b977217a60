"""Works out what a load needs, from what a scaling report measured.

docs/capacity.md says in words what is done here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

from benchmarks.harness.runner import BenchmarkError
from benchmarks.harness.turns import cpu_figure
from benchmarks.report import sweeps as _sweeps
from benchmarks.report.points import point
from idalloc_schemas import MAX_ID
from idalloc_worker.tags._settings import TagSettings
from idalloc_worker.tags._step_size import Demand, step_size

BATCH = 100
BUSY = 0.7
"""How much of a core, a process or a queue is used at most: the rest is for bursts and failures."""

PARTS = ("client", "worker", "broker", "mysql")
_YEAR = 365.25 * 86_400  # seconds
_LEASE_SECONDS = 10.0
_SHORTEST_LEASE, _LONGEST_LEASE = 100, 1_000_000  # ids


@dataclass(frozen=True)
class Setting:
    """What a table takes for granted."""

    tags: int = 100
    """Tags that the load is spread over evenly."""
    step: int = 10_000
    """Of each tag, whose segments follow its use."""
    callers: int = 20
    """Processes that ask, at least: more where one could not use up its share."""


@dataclass(frozen=True)
class Cost:
    """CPU microseconds at each part."""

    client: float
    worker: float
    broker: float
    mysql: float

    def scaled(self, factor: float) -> "Cost":
        """Multiply all of it."""
        return Cost(*(getattr(self, part) * factor for part in PARTS))

    def without(self, other: "Cost") -> "Cost":
        """Take something off; what was measured too coarsely for that is nothing."""
        return Cost(*(max(getattr(self, part) - getattr(other, part), 0.0) for part in PARTS))


@dataclass(frozen=True)
class Measured:
    """What a report says that the table needs."""

    single: Cost
    """Of a request of one id, many in flight."""
    single_rate: float
    """Such requests per second: the highest that was seen."""
    batch: Cost
    batch_rate: float
    gathered: Cost
    """Of a request of one client, which carries the calls of many tasks."""
    gathered_rate: float
    """Such requests per second of one client process."""
    calls_per_request: float
    refill: Cost
    lease_rate: float
    """Requests of the largest count per second."""
    queue_share: float
    tag_bytes: float

    @property
    def client_rate(self) -> float:
        """Calls per second of one client process."""
        return self.gathered_rate * self.calls_per_request

    @property
    def queue_limit(self) -> float:
        """Requests per second at which one queue would use all of a core."""
        return 1e6 / (self.single.broker * self.queue_share)


@dataclass(frozen=True)
class Kind:
    """A way to ask."""

    name: str
    requests: Callable[[float, Measured, Setting], float]
    """Requests per second for a load."""
    cost: Callable[[Measured], Cost]
    """Of a request."""
    seen: Callable[[Measured], tuple[float, float]]
    """Requests and ids per second that were measured: whatever needs more is extrapolated."""


def read(report: Mapping[str, Any]) -> Measured:
    """Take the figures out of a scaling report, as JSON has it.

    Raises BenchmarkError if a sweep is missing.
    """
    found = {one["name"]: one for one in report["contenders"]}
    many = _sweeps.IN_FLIGHT
    try:
        single = found[point(_sweeps.PLAIN_SERIES, many)]
        batch = found[point(_sweeps.COUNT_SERIES, BATCH)]
        client = found[point(_sweeps.CLIENT_SERIES, _sweeps.CALLERS[-1])]
        refill = found[point(_sweeps.REFILL_SERIES, _sweeps.REFILL_STEP)]
        share, tag = found[_sweeps.QUEUE_SHARE], found[_sweeps.TAG_MEMORY]
        largest = found[point(_sweeps.COUNT_SERIES, _sweeps.COUNTS[-1])]
    except KeyError as missing:
        raise BenchmarkError(f"the report has no {missing}; run all sweeps") from None
    together = _more(client, "calls/request")
    return Measured(
        single=_cost(single),
        single_rate=single["median"],
        batch=_cost(batch),
        batch_rate=batch["median"],
        gathered=_cost(client).scaled(together),
        gathered_rate=client["median"] / together,
        calls_per_request=together,
        refill=_cost(refill)
        .without(_cost(batch))
        .scaled(refill["median"] / _more(refill, "refills/s")),
        lease_rate=largest["median"],
        queue_share=share["median"],
        tag_bytes=tag["median"],
    )


def _cost(contender: Mapping[str, Any]) -> Cost:
    return Cost(*(_more(contender, cpu_figure(part, _sweeps.PER)) for part in PARTS))


def _more(contender: Mapping[str, Any], name: str) -> float:
    return float(contender["more"][name]["median"])


def gathered_requests(load: float, measured: Measured, setting: Setting) -> float:
    """Count the requests of clients that gather: few calls do not meet, many share a request."""
    clients = max(setting.callers, ceil(load / measured.client_rate))
    return min(load, clients * measured.gathered_rate)


def leases(load: float, _measured: Measured, setting: Setting) -> float:
    """Count the requests of sequences: one for each lease, sized as the client does by default."""
    lease = min(max(load / setting.callers * _LEASE_SECONDS, _SHORTEST_LEASE), _LONGEST_LEASE)
    return load / lease


KINDS = (
    Kind(
        "single requests, plain",
        lambda load, _measured, _setting: load,
        lambda measured: measured.single,
        lambda measured: (measured.single_rate, measured.single_rate),
    ),
    Kind(
        "`next_id`, gathered",
        gathered_requests,
        lambda measured: measured.gathered,
        lambda measured: (measured.gathered_rate, measured.client_rate),
    ),
    Kind(
        f"batches of {BATCH}",
        lambda load, _measured, _setting: load / BATCH,
        lambda measured: measured.batch,
        lambda measured: (measured.batch_rate, measured.batch_rate * BATCH),
    ),
    Kind(
        "sequences",
        leases,
        lambda measured: measured.batch,
        lambda measured: (measured.lease_rate, measured.lease_rate * _LONGEST_LEASE),
    ),
)


@dataclass(frozen=True)
class Need:
    """What a load needs; cores are CPU seconds per second."""

    load: float
    kind: str
    requests: float
    worker_cores: float
    worker_processes: int
    broker_cores: float
    queues: int
    updates: float
    measured: bool

    @property
    def messages(self) -> float:
        """Through the broker, a second: a request and its answer."""
        return 2 * self.requests

    @property
    def space_per_year(self) -> float:
        """The part of one tag's ids that a year takes, if all of them are of that tag."""
        return self.load * _YEAR / MAX_ID


def need(load: float, kind: Kind, measured: Measured, setting: Setting) -> Need:
    """Work one load out."""
    requests = kind.requests(load, measured, setting)
    cost = kind.cost(measured)
    most_requests, most_ids = kind.seen(measured)
    # How many processes there are decides how large their segments are, whose refills are work.
    processes, updates, cores = 1, 0.0, 0.0
    while True:
        updates = updates_per_second(load, processes, setting)
        cores = (requests * cost.worker + updates * measured.refill.worker) / 1e6
        if processes >= cores / BUSY:
            break
        processes = ceil(cores / BUSY)
    return Need(
        load=load,
        kind=kind.name,
        requests=requests,
        worker_cores=cores,
        worker_processes=processes,
        broker_cores=(requests * cost.broker + updates * measured.refill.broker) / 1e6,
        queues=ceil(requests / (BUSY * measured.queue_limit)),
        updates=updates,
        measured=requests <= most_requests and load <= most_ids,
    )


def updates_per_second(load: float, processes: int, setting: Setting) -> float:
    """Count the segments that are reserved a second, once their size has followed the use.

    As a worker sizes them: the same function, fed with the size that it comes to rest at.
    """
    settings, rate = TagSettings(step=setting.step), load / (processes * setting.tags)
    size = before = 0
    while size == 0 or size > before:  # by at most a factor each time
        before, size = size, step_size(settings, Demand(rate, size))
    return load / size
