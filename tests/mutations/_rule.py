"""What is known of one rule."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]

SIMULATION: Final = "simulation"
"""Stands for the schedules that the suite runs, of all weathers."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of the protocol."""

    says: str
    """What it says, in one sentence."""
    file: str
    line: str
    """The source that carries it, as it stands there: once, and perhaps more than a line."""
    broken: str
    """What stands there once it is broken."""
    noticed_by: tuple[str, ...]
    """Where to look first: arguments of pytest, or `simulation` with or without a weather."""

    def apply(self, root: Path) -> None:
        """Break it in a copy of the tree."""
        path = root / self.file
        path.write_text(self.break_in(path.read_text()))

    def break_in(self, source: str) -> str:
        """Return a source in which it is broken; raises ValueError unless it stands there once."""
        if (times := source.count(self.line)) != 1:
            raise ValueError(f"{self.file} has {times} times: {self.line}")
        return source.replace(self.line, self.broken)
