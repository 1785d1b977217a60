"""Promotes a replica that lacks the last commits, again and again, under a fleet at work.

Part of `make prove`: it counts duplicates, errors of callers, and the
rewinds that the workers found and repaired. `python -m benchmarks.proofs.promotion --rounds 20`
"""

import argparse
import secrets
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.harness.environment import environment, one_line
from benchmarks.harness.runner import progress
from devstack import DevStackError, replicated_pair, running_stack, scratch_vhost
from devstack.caller import Caller
from devstack.history import check, load
from devstack.promotions import LOAD, STEP, Site, replicated_site, rewinds_repaired
from devstack.workers import Fleet
from idalloc_client import IdClient

_CALLERS = 4
_PATIENCE = 120.0  # seconds for the callers to end


@dataclass(frozen=True)
class Outcome:
    """What all rounds together came to."""

    rounds: int
    quiet_rounds: int
    """Rounds after which no worker had counted a rewind."""
    rewinds: int
    ids: int
    duplicates: int
    disorders: int
    errors: dict[str, int]

    @property
    def good(self) -> bool:
        """Whether nothing went out twice, nobody noticed, and every event was counted."""
        return not (self.duplicates or self.disorders or self.errors or self.quiet_rounds)

    def __str__(self) -> str:
        errors = ", ".join(f"{name} {count}" for name, count in self.errors.items())
        return "\n".join(
            [
                f"promotions          {self.rounds}",
                f"ids received        {self.ids}",
                f"duplicates          {self.duplicates}",
                f"out of order        {self.disorders}",
                f"caller errors       {sum(self.errors.values())} {errors}".rstrip(),
                f"rewinds counted     {self.rewinds}",
                f"rounds without one  {self.quiet_rounds}",
            ]
        )


def main() -> int:
    """Return 0 if all was as it should be, 1 if not, 2 if it could not run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, metavar="N")
    parser.add_argument("--workers", type=int, default=1, metavar="N")
    parser.add_argument(
        "--budget",
        type=float,
        default=600.0,
        metavar="S",
        help="start no further round after so many seconds (default: %(default)s)",
    )
    given = parser.parse_args()
    try:
        outcome = measure(given.rounds, given.workers, given.budget)
    except DevStackError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{outcome}\n")
    print(one_line(environment()))
    return 0 if outcome.good else 1


def measure(rounds: int, workers: int, budget: float) -> Outcome:
    """Run the rounds with the same workers and callers throughout."""
    until = time.monotonic() + budget
    with _fleet(workers) as (site, fleet), TemporaryDirectory() as name:
        folder = Path(name)
        enough = folder / "enough"
        callers = [
            Caller(folder, f"caller-{n}", fleet.amqp_url, *LOAD, f"--until={enough}")
            for n in range(_CALLERS)
        ]
        try:
            counts = list(_rewinds_by_round(site, fleet.amqp_url, rounds, workers, until))
            enough.touch()
            summaries = [caller.result(_PATIENCE) for caller in callers]
        finally:
            for caller in callers:
                caller.kill()
        report = check(load(folder))
    return Outcome(
        rounds=len(counts),
        quiet_rounds=counts.count(0),
        rewinds=sum(counts),
        ids=report.total,
        duplicates=len(report.duplicates),
        disorders=len(report.disorders),
        errors=dict(sum((Counter(summary.errors) for summary in summaries), Counter())),
    )


def _rewinds_by_round(
    site: Site, amqp_url: str, rounds: int, workers: int, until: float
) -> Iterator[int]:
    with IdClient(amqp_url) as client:
        known = 0
        site.wait_for_mark(2 * workers * STEP)
        for number in range(1, rounds + 1):
            lost = site.lose_commits_and_promote()
            total = rewinds_repaired(client, workers)
            progress(f"round {number}: promoted without the commits up to {lost}")
            yield total - known
            known = total
            if number == rounds or time.monotonic() > until:
                return
            site.pair.rejoin()


@contextmanager
def _fleet(workers: int) -> Iterator[tuple[Site, Fleet]]:
    vhost_name = f"idalloc-benchmark-{secrets.token_hex(6)}"
    with (
        running_stack() as stack,
        scratch_vhost(stack.amqp_url, stack.management_url, vhost_name) as vhost,
        replicated_pair() as pair,
        replicated_site(pair) as site,
        Fleet(vhost, site.url) as fleet,
    ):
        fleet.start(workers)
        yield site, fleet


if __name__ == "__main__":
    sys.exit(main())
