"""Ids that a process makes by itself, beside those that it is given: one thread, one call for each.

A sequence of idalloc's client draws its ids from a worker, ahead of need; the Snowflake ids need a
node number for each process, and trust its clock. The engine is the part of a worker that answers
from memory, alone: no broker, no database, refills included.
"""

import sys
import time
from collections.abc import Callable
from functools import partial
from itertools import count, repeat
from uuid import uuid4

from benchmarks.harness.command import main
from benchmarks.harness.runner import Bar, BenchmarkError, Plan, Race, Report, run
from benchmarks.harness.site import TAG, one_worker
from benchmarks.harness.turns import Contender
from idalloc_client import IdClient
from idalloc_worker.engine._effects import Answer, StartRefill
from idalloc_worker.engine._engine import Engine, EngineLimits
from idalloc_worker.tags._segment import Segment
from idalloc_worker.tags._settings import TagSettings

try:
    from snowflake_id_toolkit import TwitterSnowflakeIDGenerator
except ImportError as error:
    _missing = error.name
else:
    _missing = None

TITLE = "Ids of one thread, one call each"
DEFAULT = Plan(rounds=5, seconds=1.0, budget=60.0)

_SEQUENCE, _ENGINE = "sequence", "engine alone"
_COUNT, _UUID, _SNOWFLAKE = "itertools.count", "uuid4", "Snowflake"
BARS = (
    Bar(_SEQUENCE, (_COUNT,), None),
    Bar(_SEQUENCE, (_UUID,), None),
    Bar(_SEQUENCE, (_SNOWFLAKE,), None),
    Bar(_ENGINE, (_COUNT,), None),
)

_CHUNK = 1000
_EPOCH = 1_735_689_600_000  # milliseconds: 2025, as Snowflakes count from a day near their first


def measure(plan: Plan) -> Report:
    """Let all take turns."""
    if _missing is not None:
        raise BenchmarkError(f"{_missing} is missing; install it: pip install 'idalloc[bench]'")
    with one_worker() as site, IdClient(site.amqp_url) as client, client.sequence(TAG) as ids:
        snowflakes = TwitterSnowflakeIDGenerator(node_id=1, epoch=_EPOCH)
        engine = FedEngine()
        contenders = [
            Contender(_SEQUENCE, partial(call_rate, partial(next, ids))),
            Contender(_COUNT, partial(call_rate, partial(next, count()))),
            Contender(_UUID, partial(call_rate, uuid4)),
            Contender(_SNOWFLAKE, partial(call_rate, snowflakes.generate_next_id)),
            Contender(_ENGINE, partial(call_rate, engine.take, between=engine.feed)),
        ]
        return run(Race(TITLE, "ids/s", contenders, BARS, site.processes, "id"), plan)


def call_rate(
    call: Callable[[], object], seconds: float, between: Callable[[], None] | None = None
) -> float:
    """Call for some seconds; return calls per second.

    `between` is called after each thousand of them, in the same time.
    """
    started = time.perf_counter()
    until = started + seconds
    done = 0
    while (now := time.perf_counter()) < until:
        for _ in repeat(None, _CHUNK):
            call()
        done += _CHUNK
        if between is not None:
            between()
    return done / (now - started)


class FedEngine:
    """An engine with one tag, whose refills are there at once when `feed` is called."""

    step = 100_000  # that of the tag in schema.sql

    def __init__(self) -> None:
        self._engine = Engine(EngineLimits())
        self._reserved = 1
        self.take: Callable[[], Answer | None] = partial(self._engine.take, TAG, 1, 0.0)
        """Ask for one id, as a worker does for a request."""
        self.take()
        self.feed()

    def feed(self) -> None:
        """Give it what it wants, until it wants nothing."""
        while wanted := self._engine.effects():
            for effect in wanted:
                if isinstance(effect, StartRefill):
                    self._refill(effect)

    def _refill(self, refill: StartRefill) -> None:
        left, self._reserved = self._reserved, self._reserved + self.step
        segment = Segment(left, self._reserved)
        settings = TagSettings(step=self.step, target_cover=0)
        self._engine.segment_arrived(refill.attempt, segment, settings, 0.0)


if __name__ == "__main__":
    sys.exit(main(measure, __doc__, DEFAULT))
