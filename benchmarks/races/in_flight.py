"""256 callers of one client whose broker is 1 ms, or 20 ms, away each way.

How many requests are on their way is the client's to find out. If each caller waits for one round
trip and no more, there are 256 ids in each: that is what a lone call's time makes of it, measured
through the same delay in the same round. With calls at random, half as many, each should take not
much more than that round trip.
"""

import asyncio
import gc
import random
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from statistics import fmean
from urllib.parse import urlsplit, urlunsplit

from benchmarks.harness.command import main
from benchmarks.harness.runner import Bar, BenchmarkError, Plan, Race, Report, run
from benchmarks.harness.site import TAG, Site, one_worker
from benchmarks.harness.tasks import TASKS, rate
from benchmarks.harness.turns import Contender, Sample
from benchmarks.races.lone_call import awaited
from devstack.proxy import TcpProxy
from devstack.workers import end_with_parent
from idalloc_client import AsyncIdClient

TITLE = f"{TASKS} callers and a network between"
DEFAULT = Plan(rounds=5, seconds=1.0, budget=60.0)
DELAYS = (1, 20)  # milliseconds each way

_MEAN = "mean us"
_LONE, _CALLERS, _RANDOM = f"{TASKS} per round trip", f"{TASKS} callers", "half of it, at random"
_LOAD = 0.5
_PER = "id"
_ROOT = Path(__file__).resolve().parents[2]


def named(kind: str, delay: int) -> str:
    """Name a contender."""
    return f"{delay} ms each way: {kind}"


BARS = tuple(
    bar
    for delay in DELAYS
    for bar in (
        Bar(named(_CALLERS, delay), (named(_LONE, delay),), 0.9),
        Bar(named(_RANDOM, delay), (named(_LONE, delay),), 1.3, at_least=False, of=_MEAN),
    )
)


def measure(plan: Plan) -> Report:
    """Let both distances take turns."""
    with one_worker() as site, asyncio.Runner() as runner, ExitStack() as closing:
        contenders: list[Contender] = []
        for delay in DELAYS:
            url, pid = closing.enter_context(delayed(site, delay / 1000))
            client = AsyncIdClient(url)
            closing.callback(_close, runner, client)
            distance = Distance(partial(client.next_id, TAG), runner)
            contenders += [
                Contender(named(kind, delay), turn, {"proxy": [pid]})
                for kind, turn in (
                    (_LONE, distance.lone),
                    (_CALLERS, distance.callers),
                    (_RANDOM, distance.at_random),
                )
            ]
        return run(Race(TITLE, "ids/s", contenders, BARS, site.processes, _PER), plan)


def _close(runner: asyncio.Runner, client: AsyncIdClient) -> None:
    runner.run(client.close())


class Distance:
    """What is measured at one distance; the round trip is that of the turn before."""

    def __init__(self, ask: Callable[[], Awaitable[int]], runner: asyncio.Runner) -> None:
        self._ask = ask
        self._runner = runner
        self._round_trip = 0.0

    def lone(self, seconds: float) -> Sample:
        """Call one after the other; tell what so many callers would get, each at that pace."""
        taken = self._runner.run(awaited(self._ask, seconds))
        self._round_trip = fmean(taken)
        return Sample(TASKS / self._round_trip, {_MEAN: self._round_trip * 1e6}, len(taken))

    def callers(self, seconds: float) -> Sample:
        """Have all of them call, one call each at a time."""
        ids = self._runner.run(rate(self._ask, seconds))
        return Sample(ids, {_MEAN: TASKS / ids * 1e6})

    def at_random(self, seconds: float) -> Sample:
        """Call at random times, half as often as the callers could."""
        pace = _LOAD * TASKS / self._round_trip
        began = time.perf_counter()
        with _small_heap():
            taken = self._runner.run(arrivals(self._ask, pace, seconds))
        per_second = len(taken) / (time.perf_counter() - began)
        return Sample(per_second, {_MEAN: fmean(taken) * 1e6}, len(taken))


@contextmanager
def _small_heap() -> Iterator[None]:
    """Spare the turn full collections of what this process has imported, of 50 to 100 ms each.

    The tasks of so many arrivals bring them about, whatever they wait for.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


async def arrivals(
    ask: Callable[[], Awaitable[object]], pace: float, seconds: float
) -> list[float]:
    """Call so many times a second, at random (Poisson); return how long each call took.

    A call counts from when it is made: that the loop wakes up by the millisecond, so that several
    are due at once, is the arrivals' way, not the client's. A task that has its id stands by for
    another call: to make one for each costs as much as all else together, and leaves a process that
    has no time.
    """
    taken: list[float] = []
    standing_by: list[asyncio.Future[bool]] = []
    loop = asyncio.get_running_loop()
    gaps = random.Random(1)  # the same arrivals in every round
    began = time.perf_counter()
    due = gaps.expovariate(pace)

    async def caller() -> None:
        again = True
        while again:
            made = time.perf_counter()
            await ask()
            taken.append(time.perf_counter() - made)
            if due >= seconds:
                return
            standing_by.append(wake := loop.create_future())
            again = await wake

    async with asyncio.TaskGroup() as calls:
        while due < seconds:
            passed = time.perf_counter() - began
            while due < min(passed, seconds):
                if standing_by:
                    standing_by.pop().set_result(True)
                else:
                    calls.create_task(caller())
                due += gaps.expovariate(pace)
            await asyncio.sleep(max(0.0, due - passed))
        for wake in standing_by:
            wake.set_result(False)
    return taken


@contextmanager
def delayed(site: Site, seconds: float) -> Iterator[tuple[str, int]]:
    """Have a proxy in a process of its own; yield the broker's address behind it, and its pid."""
    parts = urlsplit(site.amqp_url)
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.races.in_flight", "--proxy", str(seconds)],
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=end_with_parent,  # noqa: PLW1509  # one system call, no lock
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        print(parts.hostname, parts.port or 5672, file=process.stdin, flush=True)
        port = process.stdout.readline().strip()
        if not port:
            raise BenchmarkError("the proxy did not start; its reason stands above")
        user = parts.netloc.rpartition("@")[0]
        try:
            yield urlunsplit(parts._replace(netloc=f"{user}@127.0.0.1:{port}")), process.pid
        finally:
            process.stdin.close()  # which ends it


def _serve(seconds: float) -> None:
    host, port = sys.stdin.readline().split()
    with TcpProxy(host, int(port), delay=seconds) as proxy:
        print(proxy.port, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--proxy"]:
        _serve(float(sys.argv[2]))
        sys.exit(0)
    sys.exit(main(measure, __doc__, DEFAULT))
