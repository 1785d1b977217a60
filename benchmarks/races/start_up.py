"""What it takes until the first id: CPU time of `idalloc next`, and how soon a worker serves.

The command's processes take turns with others that import pika or do nothing: a machine's speed is
in all of them. The worker's request waits in the queue when the worker is started.
"""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from benchmarks.harness.command import main
from benchmarks.harness.runner import Bar, Plan, Race, Report, run, with_figure, with_limit
from benchmarks.harness.site import TAG, fleet_site
from benchmarks.harness.turns import Contender
from devstack.workers import Fleet, queue_depth
from idalloc_client import IdClient

TITLE = "CPU of one command, and the time until a first id"
DEFAULT = Plan(rounds=7, seconds=1.0, budget=60.0)

_NEXT, _PIKA, _PASS = "idalloc next", "import pika", "python -c pass"
BARS = (
    Bar(_NEXT, (_PIKA,), 2.0, at_least=False),
    Bar(_NEXT, (_PASS,), None, at_least=False),
)
_FIRST_ID = "a worker's first id, in time"
_STARTS = 5


def measure(plan: Plan) -> Report:
    """Let the commands take turns, then start workers."""
    with fleet_site() as (fleet, _database, _stack):
        [worker] = fleet.start(1)
        contenders = [
            Contender(_NEXT, partial(cpu_time, ["-m", "idalloc_worker", "next", TAG], fleet)),
            Contender(_PIKA, partial(cpu_time, ["-c", "import pika"], fleet)),
            Contender(_PASS, partial(cpu_time, ["-c", "pass"], fleet)),
        ]
        report = run(Race(TITLE, "ms", contenders, BARS), plan)
        worker.terminate()
        report = with_limit(report, _NEXT, 250, "ms")
        return with_figure(report, _FIRST_ID, first_ids(fleet), 1000, "ms")


def cpu_time(arguments: list[str], fleet: Fleet, seconds: float) -> float:
    """Run Python again and again for some seconds; return the least milliseconds that it took."""
    environ = {**os.environ, "IDALLOC_AMQP_URL": fleet.amqp_url}
    until = time.monotonic() + seconds
    taken: list[float] = []
    while not taken or time.monotonic() < until:
        before = _of_children()
        subprocess.run(
            [sys.executable, *arguments], env=environ, stdout=subprocess.DEVNULL, check=True
        )
        taken.append(_of_children() - before)
    return min(taken) * 1e3


def first_ids(fleet: Fleet) -> list[float]:
    """Start workers one after the other; return the ms until each answered what waited."""
    return [_first_id(fleet) * 1e3 for _ in range(_STARTS)]


def _first_id(fleet: Fleet) -> float:
    with IdClient(fleet.amqp_url, timeout=60) as client, ThreadPoolExecutor() as pool:
        answered = pool.submit(_answered, partial(client.next_id, TAG))
        while not queue_depth(fleet.amqp_url, "id.alloc"):
            time.sleep(0.01)
        began = time.monotonic()
        [worker] = fleet.start(1, ready=False)
        taken = answered.result() - began
    worker.wait_for_log("Ready for ordered tags")
    worker.terminate()
    return taken


def _answered(call: Callable[[], object]) -> float:
    call()
    return time.monotonic()


def _of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    sys.exit(main(measure, __doc__, DEFAULT))
