"""A process that draws ids from sequences, steadily, and writes them all down.

Eight threads or tasks: six share one sequence, two have one each. Commands come in by lines:
`drain` draws as fast as it goes until there is an error, `recover` tries until there are ids again,
`end` closes everything. Lines of JSON go out: how it stands, some times a second, and the end.
"""

import argparse
import asyncio
import json
import os
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import repeat
from math import isinf
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.crews.census import Ledger
from benchmarks.harness.site import TAG
from idalloc_client import AsyncIdClient, AsyncIdSequence, IdAllocError, IdClient, IdSequence

DRAWERS = 8
"""Threads or tasks in one process."""

URL = "IDALLOC_BENCHMARK_AMQP_URL"
CAP = 300_000  # ids: what is drained and leased anew at the end is bounded by it
SHARING = 6
"""Drawers of one process that share a sequence; the others have one each."""
PATIENCE = 2.0  # seconds that a call may wait when nothing is left

_CHUNK = 100  # ids between two looks at the clock
_RECOVERY = 60.0  # seconds, before it counts as failed
_PAUSE = 0.05  # seconds between tries, where errors come at once
_TELL_EVERY = 0.2  # seconds
_SWITCH_INTERVAL = 1e-4  # seconds: threads are to meet in each other's way

_Sequence = TypeVar("_Sequence")


@dataclass
class Drawer:
    """One thread or task."""

    ledger: Ledger
    errors: list[str] = field(default_factory=list)
    """That came while the sequence was said to have cover."""
    drained_by: str = ""
    waited: float = 0.0
    """Seconds until the error that ended the draining."""
    recovered: bool = False


@dataclass(frozen=True)
class Lease:
    """What the sequences are asked for: ids at first, and the seconds that they should last."""

    floor: int
    cover: float


class Stage:
    """What all drawers of this process are to do; the thread that reads commands sets it."""

    def __init__(self) -> None:
        self.command = "draw"
        self._changed = threading.Condition()

    def set(self, command: str) -> None:
        """Go on to the next stage."""
        with self._changed:
            self.command = command
            self._changed.notify_all()

    def wait_until_left(self, command: str) -> None:
        """Return when the stage is another one."""
        with self._changed:
            self._changed.wait_for(lambda: self.command != command)


class Pace:
    """Says how long to wait before the next chunk."""

    def __init__(self, rate: float) -> None:
        self._seconds = _CHUNK / rate
        self._due = time.monotonic()

    def pause(self) -> float:
        """Return the seconds until the next chunk is due."""
        self._due += self._seconds
        return max(self._due - time.monotonic(), 0.0)


def _note(drawer: Drawer, error: IdAllocError) -> None:
    drawer.errors.append(f"{type(error).__name__}: {error}")


# Threads


def draw_in_thread(ids: IdSequence, drawer: Drawer, stage: Stage, rate: float) -> None:
    """Go through all stages."""
    add = drawer.ledger.add
    pace = Pace(rate)
    while stage.command == "draw":
        try:
            for _ in repeat(None, _CHUNK):
                add(next(ids))
        except IdAllocError as error:
            _note(drawer, error)
        time.sleep(pace.pause())
    while not drawer.drained_by:
        started = time.monotonic()
        try:
            add(next(ids))
        except IdAllocError as error:
            drawer.waited = time.monotonic() - started
            drawer.drained_by = type(error).__name__
    stage.wait_until_left("drain")
    until = time.monotonic() + _RECOVERY
    while not drawer.recovered and time.monotonic() < until:
        try:
            add(next(ids))
            drawer.recovered = True
        except IdAllocError:
            time.sleep(_PAUSE)


def run_threads(
    url: str, drawers: Sequence[Drawer], stage: Stage, rate: float, lease: Lease
) -> int:
    """Draw in threads that share a client; return how many ids were leased in vain."""
    sys.setswitchinterval(_SWITCH_INTERVAL)
    with IdClient(url, timeout=PATIENCE) as client:
        sequences = [
            client.sequence(TAG, floor=lease.floor, cap=CAP, cover=lease.cover)
            for _ in range(DRAWERS - SHARING + 1)
        ]
        threads = [
            threading.Thread(
                target=draw_in_thread, args=(_one_of(sequences, n), drawer, stage, rate)
            )
            for n, drawer in enumerate(drawers)
        ]
        for thread in threads:
            thread.start()
        while stage.command != "end":
            _tell(drawers, sequences)
            time.sleep(_TELL_EVERY)
        for thread in threads:
            thread.join()
        return _close(sequences)


# Tasks


async def draw_in_task(ids: AsyncIdSequence, drawer: Drawer, stage: Stage, rate: float) -> None:
    """Go through all stages."""
    add = drawer.ledger.add
    pace = Pace(rate)
    while stage.command == "draw":
        try:
            for _ in repeat(None, _CHUNK):
                add(await anext(ids))
        except IdAllocError as error:
            _note(drawer, error)
        await asyncio.sleep(pace.pause())
    while not drawer.drained_by:
        started = time.monotonic()
        try:
            add(await anext(ids))
        except IdAllocError as error:
            drawer.waited = time.monotonic() - started
            drawer.drained_by = type(error).__name__
    await asyncio.to_thread(stage.wait_until_left, "drain")
    until = time.monotonic() + _RECOVERY
    while not drawer.recovered and time.monotonic() < until:
        try:
            add(await anext(ids))
            drawer.recovered = True
        except IdAllocError:
            await asyncio.sleep(_PAUSE)


async def run_tasks(
    url: str, drawers: Sequence[Drawer], stage: Stage, rate: float, lease: Lease
) -> int:
    """Draw in tasks that share a client; return how many ids were leased in vain."""
    async with AsyncIdClient(url, timeout=PATIENCE) as client:
        sequences = [
            client.sequence(TAG, floor=lease.floor, cap=CAP, cover=lease.cover)
            for _ in range(DRAWERS - SHARING + 1)
        ]
        drawing = asyncio.gather(
            *(
                draw_in_task(_one_of(sequences, n), drawer, stage, rate)
                for n, drawer in enumerate(drawers)
            )
        )
        while stage.command != "end":
            _tell(drawers, sequences)
            await asyncio.sleep(_TELL_EVERY)
        await drawing
        return _close(sequences)


# Both


def _one_of(sequences: Sequence[_Sequence], number: int) -> _Sequence:
    """Give the last drawers a sequence each, and the others the first one to share."""
    return sequences[max(number - (DRAWERS - len(sequences)), 0)]


def _tell(drawers: Sequence[Drawer], sequences: Sequence[IdSequence | AsyncIdSequence]) -> None:
    _write(
        drawn=sum(drawer.ledger.count for drawer in drawers),
        cover=min(_known(ids.cover) for ids in sequences),
        errors=[error for drawer in drawers for error in drawer.errors],
        drained=sum(bool(drawer.drained_by) for drawer in drawers),
        recovered=sum(drawer.recovered for drawer in drawers),
    )


def _known(cover: float) -> float:
    """Take a cover that is infinite, because nothing was used yet, for none."""
    return 0.0 if isinf(cover) else cover


def _close(sequences: Sequence[IdSequence | AsyncIdSequence]) -> int:
    for ids in sequences:
        ids.close()
    return sum(ids.unused for ids in sequences)


def _write(**state: Any) -> None:
    sys.stdout.write(json.dumps(state) + "\n")
    sys.stdout.flush()


def _follow_commands(stage: Stage) -> None:
    for line in sys.stdin:
        stage.set(line.strip())


def main() -> None:
    """Run until told to end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=["threads", "tasks"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rate", type=float, required=True, help="ids per second of each drawer")
    parser.add_argument("--cover", type=float, required=True, help="seconds that a lease lasts")
    parser.add_argument("--floor", type=int, required=True, help="ids in the first lease")
    given = parser.parse_args()
    lease = Lease(given.floor, given.cover)
    stage = Stage()
    threading.Thread(target=_follow_commands, args=(stage,), daemon=True).start()
    with ExitStack() as closing:
        drawers = [
            Drawer(closing.enter_context(Ledger(given.folder / f"{os.getpid()}-{n}.ids")))
            for n in range(DRAWERS)
        ]
        if given.kind == "threads":
            unused = run_threads(os.environ[URL], drawers, stage, given.rate, lease)
        else:
            unused = asyncio.run(run_tasks(os.environ[URL], drawers, stage, given.rate, lease))
    _write(
        ended=True,
        drawn=sum(drawer.ledger.count for drawer in drawers),
        unused=unused,
        errors=[error for drawer in drawers for error in drawer.errors],
        drained_by=[drawer.drained_by for drawer in drawers],
        waited=max(drawer.waited for drawer in drawers),
        recovered=sum(drawer.recovered for drawer in drawers),
    )


if __name__ == "__main__":
    main()
