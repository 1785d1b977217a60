"""Sweeps of one parameter each: worker processes, tags, callers, ids per request.

A point is a contender, so that all points of a sweep take turns. A call is what one caller asks
for; where no client gathers calls, each is a request of its own.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from statistics import median

from benchmarks.harness.load import load
from benchmarks.harness.machine import resident_bytes
from benchmarks.harness.queue_share import broker_work, queue_share
from benchmarks.harness.runner import (
    Bar,
    BenchmarkError,
    Plan,
    Race,
    Report,
    Result,
    Spread,
    progress,
    run,
)
from benchmarks.harness.site import TAG, Site, one_worker
from benchmarks.harness.tasks import rate
from benchmarks.harness.turns import Contender, Processes, Sample, cpu_figure
from benchmarks.peers.raw_requests import RawRequests, raw_requests
from benchmarks.report.points import point
from idalloc_client import AsyncIdClient, IdClient
from idalloc_schemas import ALLOC_QUEUE

IN_FLIGHT = 100
LOAD_PROCESSES = 4
PROCESSES = (1, 2, 3, 4)
TAGS = (1, 10, 100, 1_000, 10_000)
CALLERS = (1, 10, 100, 1_000)
COUNTS = tuple(10**power for power in range(7))
REFILL_STEP = 100

PROCESSES_SERIES = "worker processes"
TAGS_SERIES = "tags in rotation"
CLIENT_SERIES, PLAIN_SERIES = "AsyncIdClient, callers", "plain pika, in flight"
COUNT_SERIES = "ids per request"
REFILL_SERIES = "a refill for each request, ids per request"
TAG_MEMORY = "bytes of the worker for each tag"
QUEUE_SHARE = "share of one queue in the broker's work"
COLD_TAGS = "cold tags warmed per second"

UNIT, PER = "calls/s", "call"
_MANY, _ONE = point(TAGS_SERIES, TAGS[-1]), point(TAGS_SERIES, TAGS[0])
TAGS_BARS = (
    Bar(_MANY, (_ONE,), 0.9),
    # Says more where the machine is shared: the worker is the only part that knows of tags.
    Bar(_MANY, (_ONE,), None, at_least=False, of=cpu_figure("worker", PER)),
)
_PATIENCE = 60.0  # seconds for all tags to get warm
_SEGMENTS = 2  # of a warm tag
_PAUSE = 0.02  # seconds: longer than a refill takes
_WARMING = 0.5  # seconds between two looks at how many tags are warm


def sweep_processes(plan: Plan) -> Report:
    """Let workers of several processes serve the same load, each on a virtual host of its own."""
    with ExitStack() as closing:
        clients = closing.enter_context(load(LOAD_PROCESSES))
        sites = {n: closing.enter_context(one_worker(processes=n)) for n in PROCESSES}
        contenders = [
            Contender(
                point(PROCESSES_SERIES, n),
                partial(clients.rate, site.amqp_url, IN_FLIGHT),
                {"worker": site.processes["worker"]},
            )
            for n, site in sites.items()
        ]
        site = sites[PROCESSES[0]]
        return _run(PROCESSES_SERIES, contenders, {**site.processes, "client": clients.pids}, plan)


def sweep_tags(plan: Plan) -> Report:
    """Ask a worker that holds ids of all tags for few or many, one after the other.

    For the first point a worker that holds no other tag is asked: what a worker has to do for tags
    that nobody asks for is to be seen too.
    """
    with ExitStack() as closing:
        site, lone = (closing.enter_context(one_worker()) for _ in range(2))
        tags = site.add_tags("t", TAGS[-1])
        lone.add_tags("t", 1)
        before = resident_bytes(site.processes["worker"])
        began = time.perf_counter()
        warm_up(site, tags)
        cold = Result(COLD_TAGS, Spread((len(tags) / (time.perf_counter() - began),)), {})
        memory = (resident_bytes(site.processes["worker"]) - before) / len(tags)
        contenders = [
            Contender(
                point(TAGS_SERIES, number),
                partial(_requests(closing, where, tags[:number]).rate, IN_FLIGHT),
                {"worker": where.processes["worker"]},
            )
            for number in TAGS
            for where in [lone if number == 1 else site]
        ]
        work = broker_work(site.management_url, site.amqp_url, latest=False)
        report = _run(TAGS_SERIES, contenders, site.processes, plan, TAGS_BARS)
        share = queue_share(work, broker_work(site.management_url, site.amqp_url))
        more = (
            cold,
            Result(TAG_MEMORY, Spread((memory,)), {}),
            Result(QUEUE_SHARE, Spread((share,)), {}),
        )
        return replace(report, results=report.results + more)


def sweep_callers(plan: Plan) -> Report:
    """Let few or many tasks share a client, and keep as many plain requests in flight."""
    with ExitStack() as closing:
        site = closing.enter_context(one_worker())
        runner = closing.enter_context(asyncio.Runner())
        client = AsyncIdClient(site.amqp_url)
        closing.callback(lambda: runner.run(client.close()))
        plain = _requests(closing, site, [TAG])

        def tasks(number: int, seconds: float) -> Sample:
            return runner.run(_tasks(client, number, seconds))

        contenders = [
            Contender(point(series, number), partial(measure, number))
            for series, measure in (
                (CLIENT_SERIES, tasks),
                (PLAIN_SERIES, partial(_round_trips, plain)),
            )
            for number in CALLERS
        ]
        return _run("callers", contenders, site.processes, plan)


def sweep_counts(plan: Plan) -> Report:
    """Ask for few or many ids with each request; each point has a tag of its own."""
    with ExitStack() as closing:
        site = closing.enter_context(one_worker())
        refills = _refill_counter(closing.enter_context(IdClient(site.amqp_url)))
        tags = site.add_tags("count", len(COUNTS))
        # A tag is refilled once at a time, and so many are in turn: each request needs a segment.
        small = site.add_tags("small", IN_FLIGHT, REFILL_STEP, fixed=True)
        series = [
            *((COUNT_SERIES, count, [tag]) for count, tag in zip(COUNTS, tags, strict=True)),
            (REFILL_SERIES, REFILL_STEP, small),
        ]
        contenders = [
            Contender(point(name, count), partial(_batches, requests, count, refills))
            for name, count, names in series
            for requests in [_requests(closing, site, names, count)]
        ]
        return _run(COUNT_SERIES, contenders, site.processes, plan)


SWEEPS: Mapping[str, Callable[[Plan], Report]] = {
    "processes": sweep_processes,
    "tags": sweep_tags,
    "callers": sweep_callers,
    "count": sweep_counts,
}


def warm_up(site: Site, tags: Sequence[str], patience: float = _PATIENCE) -> None:
    """Ask once for each tag and more, until the worker holds two segments of each.

    Raises BenchmarkError if that takes more than `patience` seconds.
    """
    until = time.monotonic() + patience
    with (
        IdClient(site.amqp_url) as client,
        raw_requests(site.amqp_url, ALLOC_QUEUE, tags) as requests,
    ):
        refills = _refill_counter(client)
        while (done := refills()) < _SEGMENTS * len(tags):
            if time.monotonic() > until:
                raise BenchmarkError("the tags do not get warm; try a quieter machine")
            progress(f"{TAGS_SERIES}: {done // _SEGMENTS:,} of {len(tags):,} are warm")
            requests.rate(IN_FLIGHT, _WARMING)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that so large a share of the sorted values does not exceed."""
    return values[min(int(len(values) * share), len(values) - 1)]


def _run(
    title: str,
    contenders: Sequence[Contender],
    processes: Processes,
    plan: Plan,
    bars: Sequence[Bar] = (),
) -> Report:
    return run(Race(title, UNIT, contenders, bars, processes, PER), plan)


def _requests(
    closing: ExitStack, site: Site, tags: Sequence[str], count: int | None = None
) -> RawRequests:
    return closing.enter_context(raw_requests(site.amqp_url, ALLOC_QUEUE, tags, count))


def _refill_counter(client: IdClient) -> Callable[[], int]:
    return lambda: client.health(TAG).counters.get("refills", 0)


def _batches(
    requests: RawRequests, count: int, refills: Callable[[], int], seconds: float
) -> Sample:
    before = refills()
    began = time.perf_counter()
    calls = requests.rate(IN_FLIGHT, seconds)
    per_second = (_settled(refills) - before) / (time.perf_counter() - began)
    return Sample(calls, {"ids/s": calls * count, "refills/s": per_second})


def _settled(refills: Callable[[], int]) -> int:
    """Wait until no refill comes in any more: the next contender would pay for it."""
    until = time.monotonic() + _PATIENCE
    done, before = refills(), -1
    while done != before and time.monotonic() < until:
        time.sleep(_PAUSE)
        done, before = refills(), done
    return done


def _round_trips(requests: RawRequests, number: int, seconds: float) -> Sample:
    began = time.perf_counter()
    latencies = requests.round_trips(number, seconds)
    return Sample(len(latencies) / (time.perf_counter() - began), _latency(latencies))


async def _tasks(client: AsyncIdClient, number: int, seconds: float) -> Sample:
    latencies = list[float]()

    async def ask() -> None:
        began = time.perf_counter()
        await client.next_id(TAG)
        latencies.append(time.perf_counter() - began)

    before = client.stats().requests
    per_second = await rate(ask, seconds, number)
    requests = client.stats().requests - before
    return Sample(per_second, {**_latency(latencies), "calls/request": len(latencies) / requests})


def _latency(latencies: list[float]) -> dict[str, float]:
    latencies.sort()
    return {
        "median ms": median(latencies) * 1000,
        "p99 ms": percentile(latencies, 0.99) * 1000,
    }
