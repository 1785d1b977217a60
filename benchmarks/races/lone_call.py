"""One caller, one call at a time: the median time of a call beside that of a bare echo.

The echo's server only parses JSON and replies over direct reply-to. Of its two clients, one on a
BlockingConnection and one on callbacks, the faster one is the peer.
"""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from statistics import median

from benchmarks.harness.command import main
from benchmarks.harness.runner import Bar, Plan, Race, Report, run
from benchmarks.harness.site import TAG, Site, one_worker, peer
from benchmarks.harness.turns import Contender, Sample
from benchmarks.peers.echo_peer import BlockingEcho, CallbackEcho
from idalloc_client import AsyncIdClient, IdClient

TITLE = "One caller, one call at a time"
DEFAULT = Plan(rounds=7, seconds=1.0, budget=60.0)

_SYNC, _ASYNC = "IdClient", "AsyncIdClient"
_BLOCKING, _CALLBACK = "echo, BlockingConnection", "echo, callbacks"
_ECHOES = (_BLOCKING, _CALLBACK)
BARS = tuple(Bar(name, _ECHOES, 1.15, at_least=False) for name in (_SYNC, _ASYNC))

_MICROSECONDS = 1e6


def measure(plan: Plan) -> Report:
    """Run the two clients and the two echoes."""
    with (
        one_worker() as site,
        peer("echo", site.amqp_url) as echo,
        _contenders(site, echo) as contenders,
    ):
        return run(Race(TITLE, "us, median", contenders, BARS, site.processes, "call"), plan)


@contextmanager
def _contenders(site: Site, echo: int) -> Iterator[list[Contender]]:
    with (
        asyncio.Runner() as runner,
        IdClient(site.amqp_url) as client,
        closing(BlockingEcho(site.amqp_url)) as blocking,
        closing(CallbackEcho(site.amqp_url)) as callback,
        ExitStack() as stack,
    ):
        async_client = AsyncIdClient(site.amqp_url)
        stack.callback(lambda: runner.run(async_client.close()))

        def in_tasks(seconds: float) -> Sample:
            return summed_up(runner.run(awaited(partial(async_client.next_id, TAG), seconds)))

        def in_callbacks(seconds: float) -> Sample:
            return summed_up(callback.latencies(seconds))

        yield [
            Contender(_SYNC, partial(latency, partial(client.next_id, TAG))),
            Contender(_BLOCKING, partial(latency, blocking.call), {"worker": [echo]}),
            Contender(_ASYNC, in_tasks),
            Contender(_CALLBACK, in_callbacks, {"worker": [echo]}),
        ]


def summed_up(taken: Sequence[float]) -> Sample:
    """Tell the median in microseconds, and how many calls there were."""
    return Sample(median(taken) * _MICROSECONDS, count=len(taken))


def latency(call: Callable[[], object], seconds: float) -> Sample:
    """Call for some seconds; return how long that took."""
    taken = []
    sent = time.perf_counter()
    until = sent + seconds
    while sent < until:
        call()
        now = time.perf_counter()
        taken.append(now - sent)
        sent = now
    return summed_up(taken)


async def async_latency(ask: Callable[[], Awaitable[object]], seconds: float) -> float:
    """Await call after call for some seconds; return the median in microseconds."""
    return median(await awaited(ask, seconds)) * _MICROSECONDS


async def awaited(ask: Callable[[], Awaitable[object]], seconds: float) -> list[float]:
    """Await call after call for some seconds; return how long each took."""
    taken = []
    sent = time.perf_counter()
    until = sent + seconds
    while sent < until:
        await ask()
        now = time.perf_counter()
        taken.append(now - sent)
        sent = now
    return taken


if __name__ == "__main__":
    sys.exit(main(measure, __doc__, DEFAULT))
