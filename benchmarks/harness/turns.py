"""Lets a contender have a turn, and tells what that gave and which processes it cost CPU time."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

from benchmarks.harness.machine import busy_seconds, cpu_seconds, family

OTHERS = "others"
"""The name under which CPU time is shown that none of the processes taking part has used."""
ALL = "all"
"""The name of what all processes that take part use together."""


@dataclass(frozen=True)
class Sample:
    """What one turn gave: the figure that the race is about, and others by name.

    `count` is how many calls or the like there were, where the figure is none of them per second.
    """

    figure: float
    more: Mapping[str, float] = field(default_factory=dict)
    count: float | None = None


Processes = Mapping[str, Sequence[int]]
"""Process ids by the part they play."""


@dataclass(frozen=True)
class Contender:
    """One way to get ids; `measure` runs it for some seconds and returns what that gave.

    `processes` are those that take part only here, or play another part elsewhere.
    """

    name: str
    measure: Callable[[float], float | Sample]
    processes: Processes = field(default_factory=dict)


def cpu_figure(part: str, cpu_per: str) -> str:
    """Name the figure that tells a part's CPU time."""
    return f"{part} CPU us/{cpu_per}"


def cpu_part(figure: str, cpu_per: str) -> str | None:
    """Name the part whose CPU time a figure tells; None for any other figure."""
    part = figure.removesuffix(cpu_figure("", cpu_per))
    return part if cpu_per and part != figure else None


@dataclass(frozen=True)
class Turn:
    """What a turn of a contender gave, or the pieces of one.

    Args:
        sample: its figures; those of all pieces.
        seconds: how long it took.
        used: CPU seconds by the part of the processes that used them.
    """

    sample: Sample
    seconds: float
    used: Mapping[str, float]

    @property
    def cpu(self) -> Mapping[str, float]:
        """Tell the CPU seconds per second."""
        return {part: used / self.seconds for part, used in self.used.items()}

    def figures(self, cpu_per: str) -> Mapping[str, float]:
        """List what there is beside the figure of the race.

        First come, if `cpu_per` names what was counted, the CPU microseconds of each.
        """
        given = self.sample.more
        if not cpu_per:
            return given
        count = self.sample.count
        if count is None:
            count = self.sample.figure * self.seconds
        each = {
            cpu_figure(part, cpu_per): used / count * 1e6
            for part, used in self.used.items()
            if part != OTHERS
        }
        costs = {**each, **given}  # a contender may have measured a part itself
        total = sum(cost for name, cost in costs.items() if cpu_part(name, cpu_per) is not None)
        return {cpu_figure(ALL, cpu_per): total, **costs}


def take_turn(
    contender: Contender,
    processes: Processes,
    seconds: float,
    clock: Callable[[], float] = time.monotonic,
) -> Turn:
    """Run a contender, and look at the processes before and after."""
    processes = {**processes, **contender.processes}
    before = _used(processes)
    started = clock()
    given = contender.measure(seconds)
    elapsed = clock() - started
    after = _used(processes)
    sample = given if isinstance(given, Sample) else Sample(given)
    return Turn(sample, elapsed, {part: after[part] - before[part] for part in after})


def joined(pieces: Sequence[Turn]) -> Turn:
    """Make one turn of its pieces; the figure is a rate if there are several."""
    if len(pieces) == 1:
        return pieces[0]
    seconds = sum(piece.seconds for piece in pieces)
    count = sum(piece.sample.figure * piece.seconds for piece in pieces)
    used = {part: sum(piece.used[part] for piece in pieces) for part in pieces[0].used}
    return Turn(Sample(count / seconds), seconds, used)


def _used(processes: Processes) -> dict[str, float]:
    used = {name: cpu_seconds(pids) for name, pids in processes.items()}
    ours = {*family(os.getpid()), *chain.from_iterable(processes.values())}
    return {**used, OTHERS: busy_seconds() - cpu_seconds(ours)}
