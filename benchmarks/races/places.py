"""How many requests of one tag in flight serve best, before later calls gather.

Sweeps fixed numbers for 256 asyncio tasks and for 64 threads, with one worker process, beside the
client as it is, which finds the number while it works.
"""

import asyncio
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from unittest.mock import patch

from benchmarks.harness import crowd as _crowd
from benchmarks.harness import tasks as _tasks
from benchmarks.harness.command import main
from benchmarks.harness.runner import Bar, Plan, Race, Report, judge, run
from benchmarks.harness.site import TAG, one_worker
from benchmarks.harness.turns import Contender
from idalloc_client import AsyncIdClient, IdClient
from idalloc_client._batching import _climb

TITLE = "Requests of one tag in flight, near the broker"
DEFAULT = Plan(rounds=5, seconds=1.0, budget=120.0)
VALUES = (1, 2, 4, 8)
FOUND = "found"
THREADS = 64

_TASKS, _THREADS = f"{_tasks.TASKS} tasks", f"{THREADS} threads"


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
            for value in (FOUND, *VALUES)
        ]
        try:
            return best(run(Race(TITLE, "ids/s", contenders, (), site.processes, "id"), plan))
        finally:
            runner.run(async_client.close())


def best(report: Report) -> Report:
    """Compare what is found with the best fixed number of each kind.

    There is no bar: the best of several is in part the luckiest of them.
    """
    figures = {result.name: result.figures for result in report.results}
    bars = [
        Bar(f"{kind}, {FOUND}", tuple(f"{kind}, {value}" for value in VALUES), None)
        for kind in (_TASKS, _THREADS)
    ]
    return replace(report, verdicts=tuple(judge(bar, figures) for bar in bars))


def _with_value(value: str | int, rate: Callable[[float], float], seconds: float) -> float:
    if isinstance(value, str):
        return rate(seconds)

    def stay(climb: _climb.Climb, *_: object) -> None:
        climb.places = value

    with patch.object(_climb.Climb, "served", stay):
        return rate(seconds)


if __name__ == "__main__":
    sys.exit(main(measure, __doc__, DEFAULT))
