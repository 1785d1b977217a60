"""How many requests of one tag in flight serve best, before later calls gather.

Sweeps the client's constant for 256 asyncio tasks and for 64 threads, with one worker process.
"""

import asyncio
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from benchmarks.harness import crowd as _crowd
from benchmarks.harness import tasks as _tasks
from benchmarks.harness.command import main
from benchmarks.harness.runner import Bar, Contender, Plan, Race, Report, judge, run
from benchmarks.harness.site import TAG, one_worker
from idalloc_client import AsyncIdClient, IdClient
from idalloc_client._batching import _pace

TITLE = "Requests in flight"
DEFAULT = Plan(rounds=5, seconds=1.0, budget=120.0)
VALUES = (1, 2, 3, 4, 6, 8)
THREADS = 64

_TASKS, _THREADS = f"{_tasks.TASKS} tasks", f"{THREADS} threads"
_AS_SHIPPED = _pace.REQUESTS_IN_FLIGHT


def measure(plan: Plan) -> Report:
    """Sweep the values for tasks and for threads in the same rounds."""
    with (
        one_worker() as site,
        asyncio.Runner() as runner,
        IdClient(site.amqp_url) as client,
    ):
        async_client = AsyncIdClient(site.amqp_url)

        def tasks(seconds: float) -> float:
            return runner.run(_tasks.rate(partial(async_client.next_id, TAG), seconds))

        threads = partial(_crowd.rate, [partial(client.next_id, TAG)] * THREADS)
        kinds: dict[str, Callable[[float], float]] = {_TASKS: tasks, _THREADS: threads}
        contenders = [
            Contender(f"{kind}, {value}", partial(_with_value, value, rate))
            for kind, rate in kinds.items()
            for value in VALUES
        ]
        try:
            return best(run(Race(TITLE, "ids/s", contenders, (), site.processes), plan))
        finally:
            runner.run(async_client.close())


def best(report: Report) -> Report:
    """Compare what ships with the best other value of each kind.

    There is no bar: the best of several is in part the luckiest of them.
    """
    figures = {result.name: result.figures for result in report.results}
    bars = [
        Bar(
            f"{kind}, {_AS_SHIPPED}",
            tuple(f"{kind}, {value}" for value in VALUES if value != _AS_SHIPPED),
            None,
        )
        for kind in (_TASKS, _THREADS)
    ]
    return replace(report, verdicts=tuple(judge(bar, figures) for bar in bars))


def _with_value(value: int, rate: Callable[[float], float], seconds: float) -> float:
    before, _pace.REQUESTS_IN_FLIGHT = _pace.REQUESTS_IN_FLIGHT, value
    try:
        return rate(seconds)
    finally:
        _pace.REQUESTS_IN_FLIGHT = before


if __name__ == "__main__":
    sys.exit(main(measure, __doc__, DEFAULT))
