"""How the cost of a call grows with worker processes, tags, callers, and ids per request.

Four sweeps, one after the other; the points of each take turns. Figures are calls per second.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace

from benchmarks.harness.command import main as command
from benchmarks.harness.quiet import Quiet
from benchmarks.harness.runner import Plan, Report
from benchmarks.report.sweeps import SWEEPS

TITLE = "Scaling"
DEFAULT = Plan(rounds=3, seconds=1.0, budget=120.0)


def measure(plan: Plan, names: Sequence[str] = tuple(SWEEPS)) -> Report:
    """Run some sweeps, each with its share of the budget, and put what they found together."""
    share = replace(plan, budget=plan.budget / len(names))
    return joined([SWEEPS[name](share) for name in names])


def joined(reports: Sequence[Report]) -> Report:
    """Make one report of several, without a unit: its figures are of several kinds."""
    return Report(
        title=TITLE,
        results=tuple(result for report in reports for result in report.results),
        verdicts=tuple(verdict for report in reports for verdict in report.verdicts),
        rounds=min(report.rounds for report in reports),
        cpu_per=reports[0].cpu_per,
        quiet=Quiet(
            tuple(used for report in reports for used in report.quiet.others),
            waits=sum(report.quiet.waits for report in reports),
        ),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; return 0 if it kept its bars, 1 if not, 2 if it could not run."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--only", action="append", choices=tuple(SWEEPS))
    chosen, rest = parser.parse_known_args(arguments)
    names = chosen.only or tuple(SWEEPS)
    description = f"{__doc__} --only {{{','.join(SWEEPS)}}} chooses a sweep, or several."
    return command(lambda plan: measure(plan, names), description, DEFAULT, rest)


if __name__ == "__main__":
    sys.exit(main())
