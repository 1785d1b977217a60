"""Sets the row back by five segments, again and again, under a fleet at work; then restarts it.

It does the same while all workers are down, killed or stopped in turns, so that nobody remembers
but the broker; in the last of these rounds that has the marks of 100,000 tags.

Part of `make prove`: it counts duplicates, errors of callers, and the
rewinds that the workers found and repaired, and after that what ten rolling restarts wasted.
`python -m benchmarks.proofs.rewind --rounds 20`
"""

import argparse
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.harness.environment import environment, one_line
from benchmarks.harness.runner import progress
from benchmarks.harness.site import fleet_site
from benchmarks.proofs.marks import TAGS, fill
from devstack import Database, DevStackError
from devstack.caller import Caller
from devstack.history import check, load
from devstack.rewinds import repaired, set_back, wait_for_repair, wait_for_use, whole_fleet
from devstack.workers import Fleet

_CALLERS = 3
_STEP = 200
_LOAD = ("--tags=order", "--batch=20", "--pause=0.002", "--timeout=30")
_PATIENCE = 120.0  # seconds for the callers to end


@dataclass(frozen=True)
class Outcome:
    """What all rounds of one kind came to."""

    what: str
    rounds: int
    rewinds: int
    expected: int
    ids: int
    missing: int
    """Ids below the highest that no caller received: lost, or received by a call that was lost."""
    duplicates: int
    disorders: int
    errors: dict[str, int]

    @property
    def good(self) -> bool:
        """Whether nothing went out twice, nobody noticed, and every event was counted."""
        counted = self.rewinds >= self.expected if self.expected else not self.rewinds
        return counted and not (self.duplicates or self.disorders or self.errors)

    def __str__(self) -> str:
        errors = ", ".join(f"{name} {count}" for name, count in self.errors.items())
        return "\n".join(
            [
                f"{self.what:<20}{self.rounds}",
                f"ids received        {self.ids}",
                f"ids nobody received {self.missing}",
                f"duplicates          {self.duplicates}",
                f"out of order        {self.disorders}",
                f"caller errors       {sum(self.errors.values())} {errors}".rstrip(),
                f"rewinds counted     {self.rewinds}",
            ]
        )


def main() -> int:
    """Return 0 if all was as it should be, 1 if not, 2 if it could not run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, metavar="N")
    parser.add_argument("--cold", type=int, default=20, metavar="N", help="with all workers down")
    parser.add_argument("--restarts", type=int, default=10, metavar="N")
    given = parser.parse_args()
    try:
        outcomes = [
            measure("rewinds", 3, _rewind, given.rounds, expected=given.rounds),
            measure("all down", 3, _cold(given.cold), given.cold, expected=given.cold),
            measure("rolling restarts", 4, _restart, given.restarts, expected=0),
        ]
    except DevStackError as error:
        print(error, file=sys.stderr)
        return 2
    for outcome in outcomes:
        print(f"{outcome}\n")
    print(one_line(environment()))
    return 0 if all(outcome.good for outcome in outcomes) else 1


def measure(
    what: str, workers: int, act: Callable[[Fleet, Database], None], rounds: int, *, expected: int
) -> Outcome:
    """Do something to a fleet at work, so many times; each worker then stops cleanly."""
    with _site() as (fleet, database), TemporaryDirectory() as name:
        folder = Path(name)
        enough = folder / "enough"
        fleet.start(workers)
        callers = [
            Caller(folder, f"caller-{n}", fleet.amqp_url, *_LOAD, f"--until={enough}")
            for n in range(_CALLERS)
        ]
        try:
            for number in range(1, rounds + 1):
                act(fleet, database)
                progress(f"{what}: {number} of {rounds}")
            enough.touch()
            summaries = [caller.result(_PATIENCE) for caller in callers]
        finally:
            for caller in callers:
                caller.kill()
        for worker in fleet.alive():
            worker.terminate()
        logs = [worker.log.read_text(errors="replace") for worker in fleet.workers]
        rewinds = sum(log.count("was rolled back to") for log in logs)
        report = check(load(folder))
    return Outcome(
        what=what,
        rounds=rounds,
        rewinds=rewinds,
        expected=expected,
        ids=report.total,
        missing=report.missing,
        duplicates=len(report.duplicates),
        disorders=len(report.disorders),
        errors=dict(sum((Counter(summary.errors) for summary in summaries), Counter())),
    )


def _rewind(fleet: Fleet, database: Database) -> None:
    before = repaired(fleet)
    set_back(database, "order", 5 * _STEP)
    wait_for_repair(fleet, before)


def _cold(rounds: int) -> Callable[[Fleet, Database], None]:
    """Set the row back while nobody runs."""
    numbers = count(1)

    def act(fleet: Fleet, database: Database) -> None:
        number = next(numbers)
        workers = fleet.alive()
        if number == rounds:
            names = ", ".join(f"('tag{tag:08}', {_STEP})" for tag in range(TAGS))
            database.query(f"INSERT INTO segments (app_tag, step) VALUES {names}")
            fill(fleet.amqp_url, TAGS)
        wait_for_use(database, "order", 8 * _STEP)
        for worker in workers:
            worker.signal(signal.SIGKILL if number % 2 else signal.SIGTERM)
        for worker in workers:
            worker.wait()
        set_back(database, "order", 5 * _STEP)
        fleet.start(len(workers))
        wait_for_repair(fleet, 0)

    return act


def _restart(fleet: Fleet, _database: Database) -> None:
    """Replace every worker, one by one, each once its successor serves."""
    for old in fleet.alive():
        fleet.start()
        old.terminate()
        whole_fleet(fleet)


@contextmanager
def _site() -> Iterator[tuple[Fleet, Database]]:
    with fleet_site() as (fleet, database, _):
        database.query(
            "INSERT INTO segments (app_tag, step, target_cover) VALUES ('order', %s, 0)", _STEP
        )
        yield fleet, database


if __name__ == "__main__":
    started = time.monotonic()
    status = main()
    progress(f"took {time.monotonic() - started:.0f} s")
    sys.exit(status)
