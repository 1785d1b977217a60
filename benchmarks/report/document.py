"""Makes one document of all that a run found: as JSON, as a summary, and as an exit code."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.harness.launch import Found
from benchmarks.harness.quiet import Quiet, load_warning
from benchmarks.harness.runner import BenchmarkError

FORMAT = 1
"""Rises when a program that reads the document would have to change."""


@dataclass(frozen=True)
class Document:
    """A whole run.

    Args:
        environment: machine, versions, commit and date.
        races: their reports by name, without the environment; what could not run is not there.
        not_run: why, by name, for those that should have run.
        left_out: the same for those that nobody asked for.
        quick: whether it was a quick run, whose figures are rough.
        seconds: how long all of it took.
    """

    environment: Mapping[str, str]
    races: Mapping[str, Found]
    not_run: Mapping[str, str] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    quick: bool = False
    seconds: float = 0.0

    @property
    def status(self) -> int:
        """The exit code: 0 if every bar is kept, 1 if not, 2 if something could not run."""
        if self.not_run:
            return 2
        return 0 if all(report["met"] for report in self.races.values()) else 1

    def summary(self) -> str:
        """Write one line for each bar, for whatever is missing, and for each thing to mistrust."""
        lines = [f"All bars, after {self.seconds:.0f} s", ""]
        lines += [
            f"{name:<16} {bar['line']}"
            for name, report in self.races.items()
            for bar in report["bars"]
        ]
        lines += [f"{name:<16} COULD NOT RUN: {why}" for name, why in self.not_run.items()]
        lines += [f"{name:<16} left out: {why}" for name, why in self.left_out.items()]
        return "\n".join([*lines, *self.warnings])

    @property
    def warnings(self) -> list[str]:
        """Say where the machine was not quiet; nothing where it was."""
        told = ((name, Quiet.read(report)) for name, report in self.races.items())
        found = [f"{name:<16} {quiet.warning}" for name, quiet in told if quiet and quiet.warning]
        return [*filter(None, [load_warning(self.environment)]), *found]

    def as_json(self) -> dict[str, Any]:
        """Write it for programs."""
        return {
            "format": FORMAT,
            "quick": self.quick,
            "seconds": round(self.seconds, 1),
            "environment": dict(self.environment),
            "races": dict(self.races),
            "not_run": dict(self.not_run),
            "left_out": dict(self.left_out),
        }


def save(document: Document, path: Path) -> None:
    """Write the document to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document.as_json(), indent=1, ensure_ascii=False) + "\n")


def load(path: Path) -> Document:
    """Read a document; raises BenchmarkError if the file is none."""
    try:
        read = json.loads(path.read_text())
        if read["format"] != FORMAT:
            raise BenchmarkError(f"{path} has format {read['format']}; this reads {FORMAT}")
        return Document(**{name: value for name, value in read.items() if name != "format"})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BenchmarkError(f"{path} holds no results: {error!r}") from error


def split(found: Mapping[str, Found]) -> tuple[dict[str, Found], dict[str, str]]:
    """Divide what the races gave into reports and reasons why there is none."""
    races: dict[str, Found] = {
        name: {key: value for key, value in report.items() if key != "environment"}
        for name, report in found.items()
        if "error" not in report
    }
    return races, {name: report["error"] for name, report in found.items() if "error" in report}
