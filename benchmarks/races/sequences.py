"""next() on a sequence, refills included, beside counters that live in memory.

One thread beside itertools.count, and four threads beside a counter behind a lock.
"""

import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from itertools import count, repeat

from benchmarks.harness.command import main
from benchmarks.harness.crowd import rate
from benchmarks.harness.runner import Bar, Plan, Race, Report, run
from benchmarks.harness.site import TAG, one_worker
from benchmarks.harness.turns import Contender
from idalloc_client import IdClient

TITLE = "next() on a sequence"
DEFAULT = Plan(rounds=7, seconds=1.0, budget=60.0)
THREADS = 4

_ONE, _COUNT = "sequence, 1 thread", "itertools.count"
_FOUR, _LOCKED = f"sequence, {THREADS} threads", f"counter with a lock, {THREADS} threads"
BARS = (Bar(_ONE, (_COUNT,), 0.7), Bar(_FOUR, (_LOCKED,), 1.0))

_CHUNK = 1000


def measure(plan: Plan) -> Report:
    """Run sequences and counters."""
    with one_worker() as site, IdClient(site.amqp_url) as client, client.sequence(TAG) as ids:
        contenders = [
            Contender(_ONE, partial(_rate, ids, 1)),
            Contender(_COUNT, partial(_rate, count(), 1)),
            Contender(_FOUR, partial(_rate, ids, THREADS)),
            Contender(_LOCKED, partial(_rate, LockedCounter(), THREADS)),
        ]
        race = Race(TITLE, "ids/s", contenders, BARS, site.processes, "id", alternating="all")
        return run(race, plan)


class LockedCounter:
    """A counter that threads share, as one writes it by hand."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def __iter__(self) -> "LockedCounter":
        return self

    def __next__(self) -> int:
        with self._lock:
            self._last += 1
            return self._last


def _rate(ids: Iterator[int], threads: int, seconds: float) -> float:
    if threads == 1:
        return single_rate(ids, seconds)
    return rate([partial(_take_chunk, ids)] * threads, seconds) * _CHUNK


def single_rate(ids: Iterator[int], seconds: float) -> float:
    """Take one after the other for some seconds; return ids per second."""
    started = time.perf_counter()
    until = started + seconds
    taken = 0
    while (now := time.perf_counter()) < until:
        _take_chunk(ids)
        taken += _CHUNK
    return taken / (now - started)


def _take_chunk(ids: Iterator[int]) -> None:
    for _ in repeat(None, _CHUNK):
        next(ids)


if __name__ == "__main__":
    sys.exit(main(measure, __doc__, DEFAULT))
