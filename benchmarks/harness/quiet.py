"""Tells whether a machine was quiet while something was measured: the one place that says so.

Others are all processes but those that are measured; what the host of a virtual machine kept for
itself counts as theirs. On a machine that is not quiet, times are those of a queue. CPU time bears
more, but not everything.
"""

import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from benchmarks.harness.machine import busy_seconds

SHARE = 0.05
"""Of the machine's CPU time: a turn in which others used more was a busy one."""

BUSY_TURNS = 0.25
"""Of all turns: with more busy ones the medians are no longer those of the quiet turns."""

LOAD = 0.5
"""Processes that run or want to, for each CPU, before anything of ours has started."""

_LISTEN = 0.25  # seconds


def cpus() -> int:
    """Count those that this process may use."""
    return len(os.sched_getaffinity(0))


@dataclass(frozen=True)
class Quiet:
    """How much others did during the turns of a race.

    Args:
        others: CPU seconds per second that others used in each turn.
        cpus: of the machine.
        waits: turns before which others had to be waited for.
    """

    others: tuple[float, ...] = ()
    cpus: int = field(default_factory=cpus)
    waits: int = 0

    @classmethod
    def read(cls, report: Mapping[str, Any]) -> "Quiet | None":
        """Take it from a report as JSON has it; None from one that does not tell."""
        told = report.get("quiet")
        return None if told is None else cls(tuple(told["others"]), told["cpus"], told["waits"])

    def as_json(self) -> dict[str, Any]:
        """Write it for programs."""
        return {**asdict(self), "others": [round(used, 4) for used in self.others]}

    @property
    def busy_turns(self) -> int:
        """Count the turns in which others did much."""
        return sum(used > SHARE * self.cpus for used in self.others)

    @property
    def kept(self) -> bool:
        """Whether the figures are those of a quiet machine."""
        return self.busy_turns <= BUSY_TURNS * len(self.others)

    def __str__(self) -> str:
        if not self.others:
            return "no turns"
        middle, most = (max(0.0, value) for value in (median(self.others), max(self.others)))
        waited = f", waited for them {self.waits} times" if self.waits else ""
        return (
            f"others used {middle:.2f} of {self.cpus} CPUs (at most {most:.2f}; "
            f"{self.busy_turns} of {len(self.others)} turns above {SHARE * self.cpus:g}{waited})"
        )

    @property
    def warning(self) -> str:
        """Say what is wrong with the figures; nothing where nothing is."""
        return "" if self.kept else f"WARNING: not a quiet machine: {self}"


def load_warning(environment: Mapping[str, str]) -> str:
    """Say that a machine was at work before the run began, which reads on in every figure."""
    load, number = float(environment.get("load", 0)), int(environment.get("cpus", 1))
    if load <= LOAD * number:
        return ""
    return f"WARNING: not a quiet machine: load {load:g} on {number} CPUs before anything started"


def wait_for_quiet(patience: float) -> bool:
    """Return once the machine has next to nothing else to do, or patience is at its end.

    Tells whether that had to be waited for.
    """
    waited = False
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        before = busy_seconds()
        time.sleep(_LISTEN)
        if busy_seconds() - before <= SHARE * cpus() * _LISTEN:
            break
        waited = True
    return waited
