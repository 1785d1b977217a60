"""An ordered tag beside an ordinary one, on one worker process.

Once with single-id requests from a bare connection, 100 in flight, and once with 256 asyncio tasks
of one client, which gathers their calls.
"""

import asyncio
import sys
from functools import partial

from benchmarks.harness import tasks as _tasks
from benchmarks.harness.command import main
from benchmarks.harness.runner import Bar, Plan, Race, Report, run
from benchmarks.harness.site import ORDERED_TAG, TAG, one_worker
from benchmarks.harness.turns import Contender
from benchmarks.peers import raw_requests as _raw_requests
from idalloc_client import AsyncIdClient

TITLE = "An ordered tag beside an ordinary one"
DEFAULT = Plan(rounds=5, seconds=2.0, budget=90.0)

_IN_FLIGHT = 100
_REQUESTS, _CALLS = f"{_IN_FLIGHT} requests in flight", f"{_tasks.TASKS} tasks"
_TAGS = {"ordinary": TAG, "ordered": ORDERED_TAG}
BARS = tuple(
    Bar(f"{kind}, ordered", (f"{kind}, ordinary",), limit)
    for kind, limit in ((_REQUESTS, 0.7), (_CALLS, 0.8))
)


def measure(plan: Plan) -> Report:
    """Let both tags take turns."""
    with one_worker() as site, asyncio.Runner() as runner:
        client = AsyncIdClient(site.amqp_url)

        def tasks(app_tag: str, seconds: float) -> float:
            return runner.run(_tasks.rate(partial(client.next_id, app_tag), seconds))

        requests = [
            Contender(
                f"{_REQUESTS}, {name}",
                partial(_raw_requests.rate, site.amqp_url, app_tag, _IN_FLIGHT),
            )
            for name, app_tag in _TAGS.items()
        ]
        calls = [
            Contender(f"{_CALLS}, {name}", partial(tasks, app_tag))
            for name, app_tag in _TAGS.items()
        ]
        try:
            contenders = [*requests, *calls]
            race = Race(TITLE, "ids/s", contenders, BARS, site.processes, "id", alternating="all")
            return run(race, plan)
        finally:
            runner.run(client.close())


if __name__ == "__main__":
    sys.exit(main(measure, __doc__, DEFAULT))
