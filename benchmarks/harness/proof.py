"""Runs a benchmark whose bars are counts that must be right, rather than ratios of speeds."""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.harness.command import positive, positive_int
from benchmarks.harness.environment import environment, one_line
from benchmarks.harness.runner import BenchmarkError
from devstack import DevStackError


@dataclass(frozen=True)
class Effort:
    """How much to do.

    Args:
        amount: of whatever the benchmark counts.
        seconds: the time over which it is spread, where that is the user's choice.
        budget: seconds after which the benchmark gives up.
    """

    amount: int
    seconds: float | None
    budget: float


@dataclass(frozen=True)
class Finding:
    """A figure, and the bounds that it has to keep; without any it is told for information."""

    what: str
    value: float
    at_least: float | None = None
    at_most: float | None = None
    note: str = ""

    @property
    def met(self) -> bool:
        """Whether it is within its bounds."""
        return (self.at_least is None or self.value >= self.at_least) and (
            self.at_most is None or self.value <= self.at_most
        )

    @property
    def line(self) -> str:
        """Say it in one line."""
        bounds = ((">=", self.at_least), ("<=", self.at_most))
        bars = [f"bar {sign} {_number(bound)}" for sign, bound in bounds if bound is not None]
        verdict = ("met" if self.met else "MISSED") if bars else "info"
        words = [f"{self.what}: {_number(self.value)}", *bars, *([self.note] if self.note else [])]
        return f"{verdict:<6} {', '.join(words)}"


@dataclass(frozen=True)
class Proof:
    """All that one such benchmark found."""

    title: str
    findings: Sequence[Finding]
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def met(self) -> bool:
        """Whether every bar is kept."""
        return all(finding.met for finding in self.findings)

    def as_text(self) -> str:
        """Write it for people."""
        versions = one_line(self.environment)
        lines = [self.title, "", *(finding.line for finding in self.findings), "", versions]
        return "\n".join(lines) + "\n"

    def as_json(self) -> dict[str, Any]:
        """Write it for programs."""
        return {
            "title": self.title,
            "met": self.met,
            "environment": dict(self.environment),
            "bars": [
                {
                    "subject": finding.what,
                    "value": finding.value,
                    "at_least": finding.at_least,
                    "at_most": finding.at_most,
                    "met": finding.met,
                    "line": finding.line,
                }
                for finding in self.findings
            ],
        }


def main(
    prove: Callable[[Effort], Proof],
    description: str | None,
    counts: str,
    default: Effort,
    arguments: Sequence[str] | None = None,
) -> int:
    """Run one such benchmark; return 0 if it kept its bars, 1 if not, 2 if it could not run.

    `counts` names what `Effort.amount` is an amount of: it becomes an option.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        f"--{counts}",
        dest="amount",
        type=positive_int,
        default=default.amount,
        metavar="N",
        help="how many, at least (default: %(default)s)",
    )
    if default.seconds is not None:
        parser.add_argument(
            "--seconds",
            type=positive,
            default=default.seconds,
            metavar="S",
            help="the time over which they are spread, about (default: %(default)s)",
        )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report there as well")
    given = parser.parse_args(arguments)
    seconds = getattr(given, "seconds", None)
    effort = replace(default, amount=given.amount, seconds=seconds)
    try:
        proof = replace(prove(effort), environment=environment())
    except (BenchmarkError, DevStackError) as error:
        print(error, file=sys.stderr)
        return 2
    if given.json is not None:
        given.json.write_text(json.dumps(proof.as_json(), indent=2) + "\n")
    print(proof.as_text())
    return 0 if proof.met else 1


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"
