"""The command line that all benchmarks share."""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.harness.environment import environment
from benchmarks.harness.runner import BenchmarkError, Plan, Report
from benchmarks.report.texts import as_json, as_text
from devstack import DevStackError


@dataclass(frozen=True)
class Options:
    """What the user asked for."""

    plan: Plan
    json: Path | None


def parse(description: str | None, arguments: Sequence[str] | None, default: Plan) -> Options:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=positive_int, default=default.rounds, metavar="N")
    parser.add_argument(
        "--seconds",
        type=positive,
        default=default.seconds,
        metavar="S",
        help="how long each contender runs in a round (default: %(default)s)",
    )
    parser.add_argument(
        "--budget",
        type=positive,
        default=default.budget,
        metavar="S",
        help="end in so many seconds, with shorter turns or fewer rounds (default: %(default)s)",
    )
    parser.add_argument(
        "--patience",
        type=not_negative,
        default=default.patience,
        metavar="S",
        help="wait so many seconds, at most, before each turn for a quiet machine (default: 0)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report there as well")
    given = parser.parse_args(arguments)
    return Options(Plan(given.rounds, given.seconds, given.budget, given.patience), given.json)


def main(
    measure: Callable[[Plan], Report],
    description: str | None,
    default: Plan,
    arguments: Sequence[str] | None = None,
) -> int:
    """Run one benchmark; return 0 if it kept its bars, 1 if not, 2 if it could not run."""
    options = parse(description, arguments, default)
    try:
        described = environment()  # now, as the load is not yet our own
        measured = measure(options.plan)
    except (BenchmarkError, DevStackError) as error:
        print(error, file=sys.stderr)
        _write(options.json, {"error": str(error)})
        return 2
    report = replace(measured, environment=described)
    _write(options.json, as_json(report))
    print(as_text(report))
    return 0 if report.met else 1


def _write(path: Path | None, found: Mapping[str, Any]) -> None:
    if path is not None:
        path.write_text(json.dumps(found, indent=2) + "\n")


def positive_int(text: str) -> int:
    """Read a count."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return value


def not_negative(text: str) -> float:
    """Read a time that may be none."""
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError("must be a number of seconds")
    return value


def positive(text: str) -> float:
    """Read a time or the like."""
    value = not_negative(text)
    if not value:
        raise argparse.ArgumentTypeError("must be above 0")
    return value
