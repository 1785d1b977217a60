"""Runs the races, each in a process of its own, within ten minutes; a quick run, within one.

Their order, and how the time is shared out, stands in `harness/programme.py`. `--json`, `--table`
and `--plots` keep the results.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.harness.command import not_negative, positive, positive_int
from benchmarks.harness.environment import environment, servers
from benchmarks.harness.launch import Found, addresses, race
from benchmarks.harness.programme import FULL, QUICK, RACES, Entry, Limits, share, time_left
from benchmarks.harness.runner import BenchmarkError, progress
from benchmarks.harness.site import benchmark_stack
from benchmarks.report import document as _document
from benchmarks.report import plot_style as _plot_style
from benchmarks.report import plots, table
from benchmarks.report.document import Document
from devstack import DevStackError

_NO_URL = "needs the address of the reference service: --reference-url URL"
_NO_TIME = "no time was left for it; try a quieter machine"
_QUICK_ROUNDS = 2
_LEAST_BUDGET = 1.0  # seconds


@dataclass(frozen=True)
class Run:
    """What to run, and how."""

    entries: tuple[Entry, ...]
    limits: Limits
    options: tuple[str, ...]
    left_out: dict[str, str]
    quick: bool
    reference_url: str | None

    def seconds_of(self, entry: Entry) -> float:
        """Tell how long a race takes, if there is time."""
        return (entry.quick or entry.seconds) if self.quick else entry.seconds

    def options_of(self, entry: Entry, planned: float) -> list[str]:
        """List the arguments of a race that is to take so many seconds, its start included."""
        budget = max(planned - entry.start, _LEAST_BUDGET)
        url = ["--reference-url", self.reference_url or ""] if entry.needs_url else []
        return [*self.options, "--budget", f"{budget:.1f}", *url]


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 if every bar is kept, 1 if not, 2 if something could not run."""
    began = time.monotonic()
    given = _parser().parse_args(arguments)
    try:
        if given.plots is not None:
            _plot_style.require()  # before ten minutes have passed
        document = measure(chosen(given), began)
        print(document.summary())
        _keep(document, given.json, given.table, given.plots)
    except (BenchmarkError, DevStackError) as error:
        print(error, file=sys.stderr)
        return 2
    return document.status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    add = parser.add_argument
    add("--quick", action="store_true", help="the few races that tell most, within one minute")
    add(
        "--only",
        action="append",
        choices=[entry.name for entry in RACES],
        metavar="NAME",
        help="run this one, and others so named: %(choices)s",
    )
    add("--json", type=Path, metavar="FILE", help="write all results there")
    add("--table", type=Path, metavar="FILE", help="write them there as Markdown")
    add("--plots", type=Path, metavar="FOLDER", help="draw them there as SVG")
    add("--reference-url", metavar="URL", help="where the reference service answers over HTTP")
    add("--rounds", type=positive_int, metavar="N", help="instead of each race's own number")
    add("--seconds", type=positive, metavar="S", help="instead of each race's own turns")
    add(
        "--patience",
        type=not_negative,
        metavar="S",
        help="wait so long, at most, before each turn for a quiet machine; that costs rounds",
    )
    return parser


def chosen(given: argparse.Namespace) -> Run:
    """Decide what to run."""
    wanted = [entry for entry in RACES if not given.only or entry.name in given.only]
    if given.quick and not given.only:
        wanted = [entry for entry in wanted if entry.quick]
    left_out = [entry for entry in wanted if entry.needs_url and not given.reference_url]
    rounds = given.rounds or (_QUICK_ROUNDS if given.quick else None)
    options = (("--rounds", rounds), ("--seconds", given.seconds), ("--patience", given.patience))
    return Run(
        entries=tuple(entry for entry in wanted if entry not in left_out),
        limits=QUICK if given.quick else FULL,
        options=tuple(
            word for name, value in options if value is not None for word in (name, str(value))
        ),
        left_out={entry.name: _NO_URL for entry in left_out},
        quick=given.quick,
        reference_url=given.reference_url,
    )


def measure(run: Run, began: float) -> Document:
    """Have servers run and all races on them; `began` is when the time of the run started."""
    described = environment()  # before the servers start, as their work is our own load
    with benchmark_stack() as stack, TemporaryDirectory(prefix="idalloc-benchmarks-") as folder:
        described = {**servers(stack), **described}
        found = _all(run, addresses(stack), Path(folder), began)
    races, not_run = _document.split(found)
    seconds = time.monotonic() - began
    return Document(described, races, not_run, run.left_out, quick=run.quick, seconds=seconds)


def _all(run: Run, servers_at: dict[str, str], folder: Path, began: float) -> dict[str, Found]:
    found: dict[str, Found] = {}
    for number, entry in enumerate(run.entries):
        seconds = [run.seconds_of(later) for later in run.entries[number:]]
        passed = time.monotonic() - began
        progress(
            f"\n--- {number + 1}/{len(run.entries)} {entry.name}; "
            f"about {_clock(time_left(seconds, passed, run.limits))} left in all"
        )
        part = share(seconds, passed, run.limits)
        if part is None:
            found[entry.name] = {"error": _NO_TIME}
            continue
        options = run.options_of(entry, part.planned)
        output = folder / f"{entry.name}.json"
        found[entry.name] = race(entry.name, options, servers_at, part.limit, output)
    return found


def _clock(seconds: float) -> str:
    return f"{seconds // 60:.0f}:{seconds % 60:02.0f} min"


def _keep(
    document: Document, json: Path | None, markdown: Path | None, folder: Path | None
) -> None:
    if json is not None:
        _document.save(document, json)
    if markdown is not None:
        table.save(document, markdown)
    if folder is not None:
        plots.save(document, folder)


if __name__ == "__main__":
    sys.exit(main())
