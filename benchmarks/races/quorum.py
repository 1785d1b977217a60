"""Requests through quorum queues beside requests through classic ones, on one broker.

Each kind has a virtual host, a database and one worker process. Once a lone caller asks, once a
plain connection keeps 100 requests in flight, and once 256 tasks of one client ask, whose calls
gather. CPU time is told for each id: where calls share a request, they share what its queue costs.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Final

from benchmarks.harness.command import main
from benchmarks.harness.runner import Bar, Plan, Race, Report, run
from benchmarks.harness.site import TAG, one_worker
from benchmarks.harness.tasks import TASKS, Ask, rate
from benchmarks.harness.turns import Contender, Processes, Sample, cpu_figure
from benchmarks.peers.raw_requests import raw_requests
from benchmarks.races.lone_call import async_latency
from devstack import Stack, running_stack
from devstack.workers import blocking_connection
from idalloc_client import AsyncIdClient
from idalloc_schemas import ALLOC_QUEUE
from idalloc_worker.broker_setup import Broker

IN_FLIGHT: Final = 100
TITLE: Final = "Quorum queues beside classic ones"
DEFAULT: Final = Plan(rounds=5, seconds=1.0, budget=60.0)

_CLASSIC, _QUORUM = "classic", "quorum"
_LONE, _REQUESTS, _CALLS = "a lone call", f"{IN_FLIGHT} requests", f"{TASKS} tasks"
_PER = "id"
_TIME = "us, median"


def _name(load: str, kind: str) -> str:
    return f"{load}, {kind}"


def _bar(load: str, of: str = "") -> Bar:
    """Compare both kinds; nothing depends on it: most of the difference is the broker's."""
    return Bar(_name(load, _QUORUM), (_name(load, _CLASSIC),), None, at_least=not of, of=of)


BARS: Final = (
    *map(_bar, (_REQUESTS, _CALLS)),
    _bar(_LONE, _TIME),
    *(_bar(load, cpu_figure("broker", _PER)) for load in (_LONE, _REQUESTS, _CALLS)),
)


def measure(plan: Plan) -> Report:
    """Let both kinds take turns, load by load."""
    with running_stack() as stack, asyncio.Runner() as runner, ExitStack() as closing:
        kinds = {
            kind: closing.enter_context(_loads(runner, stack, quorum=kind == _QUORUM))
            for kind in (_CLASSIC, _QUORUM)
        }
        contenders = [
            Contender(_name(load, kind), loads[load], processes)
            for load in (_LONE, _REQUESTS, _CALLS)
            for kind, (loads, processes) in kinds.items()
        ]
        return run(Race(TITLE, "ids/s", contenders, BARS, cpu_per=_PER), plan)


Loads = dict[str, Callable[[float], float | Sample]]


@contextmanager
def _loads(
    runner: asyncio.Runner, stack: Stack, *, quorum: bool
) -> Iterator[tuple[Loads, Processes]]:
    with (
        one_worker(partial(_declare, quorum=quorum), stack) as site,
        raw_requests(site.amqp_url, ALLOC_QUEUE, [TAG]) as requests,
    ):
        client = AsyncIdClient(site.amqp_url)
        ask = partial(client.next_id, TAG)
        loads: Loads = {
            _LONE: lambda seconds: runner.run(_lone(ask, seconds)),
            _REQUESTS: partial(requests.rate, IN_FLIGHT),
            _CALLS: lambda seconds: runner.run(rate(ask, seconds)),
        }
        yield loads, site.processes
        runner.run(client.close())


def _declare(amqp_url: str, *, quorum: bool) -> None:
    """Make the quorum queues that `idalloc broker-setup` makes; workers make all other queues."""
    with blocking_connection(amqp_url) as connection:
        channel = connection.channel()
        for queue in Broker(quorum=quorum).definitions()["queues"]:
            if queue["arguments"].get("x-queue-type") == "quorum":
                channel.queue_declare(queue["name"], durable=True, arguments=queue["arguments"])


async def _lone(ask: Ask, seconds: float) -> Sample:
    asked = 0

    def counted() -> Awaitable[object]:
        nonlocal asked
        asked += 1
        return ask()

    median = await async_latency(counted, seconds)
    return Sample(asked / seconds, {_TIME: median})


if __name__ == "__main__":
    sys.exit(main(measure, __doc__, DEFAULT))
