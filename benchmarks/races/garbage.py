"""How long a garbage collection would hold up a worker that has 10,000 tags in use.

Without broker and database: a process with the engine and its tags, as Python's collector finds it.
A full collection, as it is and with what the process had at its start frozen, and the young ones
that remain, of as many new objects as call for one.
"""

import gc
import sys
import time
from collections.abc import Callable
from functools import partial

from benchmarks.harness.command import main
from benchmarks.harness.runner import Bar, Plan, Race, Report, run
from benchmarks.harness.turns import Contender
from idalloc_worker.engine._effects import StartRefill
from idalloc_worker.engine._engine import Engine, EngineLimits
from idalloc_worker.tags._segment import Segment
from idalloc_worker.tags._settings import TagSettings

TITLE = "A garbage collection"
DEFAULT = Plan(rounds=5, seconds=0.5, budget=30.0)
TAGS = 10_000

_FULL, _FROZEN, _YOUNG = "full", "full, start frozen", "young"
BARS = (Bar(_FROZEN, (_FULL,), None, at_least=False), Bar(_YOUNG, (_FULL,), None, at_least=False))

_NEW = 700  # objects that call for a young collection


def measure(plan: Plan) -> Report:
    """Collect over and over; nothing is garbage."""
    contenders = [
        Contender(_FULL, _full),
        Contender(_FROZEN, _frozen),
        Contender(_YOUNG, partial(_pause, _collect_young)),
    ]
    gc.disable()
    try:
        return run(Race(TITLE, "us", contenders, BARS), plan)
    finally:
        gc.enable()


def engine_with(tags: int) -> Engine:
    """Make an engine that holds ids of so many tags."""
    engine = Engine(EngineLimits())
    for number in range(tags):
        engine.take(f"tag-{number}", 1, 0.0)
    while effects := engine.effects():
        for effect in effects:
            if isinstance(effect, StartRefill):
                segment = Segment(effect.floor, effect.floor + 1000)
                engine.segment_arrived(effect.attempt, segment, TagSettings(step=1000), 0.0)
    return engine


def _pause(collect: Callable[[], object], seconds: float) -> float:
    """Return the microseconds that one takes, on average."""
    spent, done = 0.0, 0
    while spent < seconds:
        started = time.perf_counter()
        collect()
        spent += time.perf_counter() - started
        done += 1
    return spent / done * 1e6


def _full(seconds: float) -> float:
    tags = engine_with(TAGS)
    pause = _pause(gc.collect, seconds)
    del tags
    return pause


def _frozen(seconds: float) -> float:
    gc.collect()
    gc.freeze()
    try:
        return _full(seconds)
    finally:
        gc.unfreeze()


def _collect_young() -> None:
    new: list[list[object]] = [[] for _ in range(_NEW)]
    gc.collect(0)
    del new


if __name__ == "__main__":
    sys.exit(main(measure, __doc__, DEFAULT))
