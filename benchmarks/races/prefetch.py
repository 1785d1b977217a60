"""How many requests a worker should have taken from the broker, and how many threads should refill.

A worker for each value, side by side. Prefetch: single requests over plain pika, 100 and 1,000 in
flight. Refill threads: 1,000 tags that nobody has used, asked for once each.
"""

import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from functools import partial
from itertools import count

from benchmarks.harness.command import main
from benchmarks.harness.runner import Bar, Plan, Race, Report, judge, run
from benchmarks.harness.site import TAG, Site, one_worker
from benchmarks.harness.turns import Contender
from benchmarks.peers.raw_requests import raw_requests
from idalloc_schemas import ALLOC_QUEUE
from idalloc_worker.settings._settings import Settings

TITLE = "Prefetch and refill threads"
DEFAULT = Plan(rounds=5, seconds=1.0, budget=150.0)
PREFETCH = (10, 50, 200, 500, 2000)
THREADS = (1, 2, 4, 8)

_IN_FLIGHT = (100, 1000)
_COLD = 1000  # tags in one turn


def measure(plan: Plan) -> Report:
    """Sweep both."""
    with ExitStack() as closing:
        contenders = [
            contender
            for prefetch in PREFETCH
            for contender in _with_prefetch(
                prefetch, closing.enter_context(_worker_of(prefetch)), closing
            )
        ]
        for threads in THREADS:
            site = closing.enter_context(one_worker(refill_threads=threads))
            contenders.append(
                Contender(_threads(threads), _cold(site), {"worker": site.processes["worker"]})
            )
        broker = {name: site.processes[name] for name in ("client", "broker", "mysql")}
        return shipped(run(Race(TITLE, "requests/s", contenders, (), broker, "request"), plan))


def shipped(report: Report) -> Report:
    """Compare what ships with the best other value of each kind; the best is in part the luckiest.

    So there is no bar.
    """
    figures = {result.name: result.figures for result in report.results}
    default = Settings.model_fields
    kinds: list[tuple[Callable[[int], str], Sequence[int], int]] = [
        (partial(_prefetch, in_flight), PREFETCH, default["prefetch"].default)
        for in_flight in _IN_FLIGHT
    ]
    kinds.append((_threads, THREADS, default["refill_threads"].default))
    bars = [
        Bar(name(ours), tuple(name(value) for value in values if value != ours), None)
        for name, values, ours in kinds
    ]
    return replace(report, verdicts=tuple(judge(bar, figures) for bar in bars))


def _worker_of(prefetch: int) -> AbstractContextManager[Site]:
    """Start a worker that takes so many requests, and lets as many as it may of them wait."""
    most = Settings.model_fields["max_waiters"].default
    return one_worker(prefetch=prefetch, max_waiters=min(most, prefetch - 1))


def _prefetch(in_flight: int, value: int) -> str:
    return f"{in_flight} in flight, prefetch {value}"


def _threads(value: int) -> str:
    return f"cold tags, {value} refill threads"


def _with_prefetch(prefetch: int, site: Site, closing: ExitStack) -> list[Contender]:
    requests = closing.enter_context(raw_requests(site.amqp_url, ALLOC_QUEUE, [TAG]))
    processes = {"worker": site.processes["worker"]}
    return [
        Contender(_prefetch(in_flight, prefetch), partial(requests.rate, in_flight), processes)
        for in_flight in _IN_FLIGHT
    ]


def _cold(site: Site) -> Callable[[float], float]:
    """Ask for tags that are new in each turn; how long that takes is what it takes."""
    turns = count()

    def measure_turn(_seconds: float) -> float:
        tags = site.add_tags(f"cold{next(turns)}-", _COLD)
        with raw_requests(site.amqp_url, ALLOC_QUEUE, tags) as requests:
            return requests.rate(_COLD, 0.0)  # each tag once

    return measure_turn


if __name__ == "__main__":
    sys.exit(main(measure, __doc__, DEFAULT))
