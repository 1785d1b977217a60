"""What it costs that the broker remembers what was reserved: a refill's CPU, and a worker's start.

Two workers take turns, each reserving a segment for each request; the broker of one keeps the marks
in the stream, that of the other has a queue in its place. Then workers start: with nothing in the
stream, and with the marks of `--tags N` tags, three workers' ends of each, and 20,000 claims.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial

from benchmarks.harness.command import main as run_main
from benchmarks.harness.command import positive_int
from benchmarks.harness.machine import cpu_seconds
from benchmarks.harness.runner import Bar, Plan, Race, Report, progress, run, with_figure
from benchmarks.harness.site import Site, fleet_site, one_worker
from benchmarks.harness.turns import Contender, Sample
from benchmarks.peers.raw_requests import RawRequests, raw_requests
from devstack.workers import Fleet, blocking_connection
from idalloc_schemas import ALLOC_QUEUE, FLEET_EXCHANGE, MARKS_STREAM, Entry, Marks, Reserved

TITLE = "Marks in the broker; CPU of worker and broker for a refill, in us"
DEFAULT = Plan(rounds=7, seconds=2.0, budget=120.0)
TAGS = 100_000
MOST_CPU = 1.3
MOST_SECONDS = 2.0

_WITH, _WITHOUT = "a refill, marks in the broker", "a refill, marks in the workers"
_START = "seconds that the marks add to a start"
_STARTS = 3
_CLAIMS = 20_000
_CHUNK = 500
_MICROSECONDS = 1e6


def measure(plan: Plan, number: int = TAGS) -> Report:
    """Let the two workers take turns, then start some."""
    with ExitStack() as closing:
        stored = closing.enter_context(one_worker())
        plain = closing.enter_context(one_worker(_forbid_stream))
        contenders = [
            Contender(name, partial(_refills, site, closing.enter_context(_refilling(site))), {})
            for name, site in ((_WITH, stored), (_WITHOUT, plain))
        ]
        bars = [Bar(_WITH, (_WITHOUT,), MOST_CPU, at_least=False)]
        report = run(Race(TITLE, "", contenders, bars, stored.processes), plan)
    return with_figure(report, _START, [_starts(number)], MOST_SECONDS, "s")


def _forbid_stream(amqp_url: str) -> None:
    with blocking_connection(amqp_url) as connection:
        connection.channel().queue_declare(MARKS_STREAM, durable=True)


@contextmanager
def _refilling(site: Site) -> Iterator[RawRequests]:
    """Ask for more ids than two segments hold, each time."""
    tags = site.add_tags("r", 1, step=10, fixed=True)
    with raw_requests(site.amqp_url, ALLOC_QUEUE, tags, count=20) as requests:
        yield requests


def _refills(site: Site, requests: RawRequests, seconds: float) -> Sample:
    pids = [*site.processes["worker"], *site.processes["broker"]]
    before = cpu_seconds(pids)
    taken = requests.round_trips(1, seconds)
    return Sample((cpu_seconds(pids) - before) / len(taken) * _MICROSECONDS)


def _starts(number: int) -> float:
    """Tell how much longer a worker takes to begin with marks of so many tags."""
    with fleet_site() as (fleet, _, _):
        empty = min(_start(fleet) for _ in range(_STARTS))
        fill(fleet.amqp_url, number)
        full = min(_start(fleet) for _ in range(_STARTS))
    progress(f"{TITLE}: a start takes {empty:.2f} s, with marks of {number:,} tags {full:.2f} s")
    return full - empty


def _start(fleet: Fleet) -> float:
    began = time.monotonic()
    [worker] = fleet.start(ready=False)
    worker.wait_for_log("Serving")
    seconds = time.monotonic() - began
    worker.terminate()
    return seconds


def fill(amqp_url: str, number: int) -> None:
    """Say to the stream what a fleet of three with so many tags would have said."""
    workers = [f"{worker:016x}" for worker in range(3)]
    entries: list[Entry] = [
        (f"tag{tag:08}", worker, 1_000_000 + tag) for tag in range(number) for worker in workers
    ]
    starts = range(0, len(entries), _CHUNK)
    bodies = [
        Marks(
            worker=workers[0],
            entries=entries[start : start + _CHUNK],
            more=start + _CHUNK < len(entries),
            part=part,
        ).encode()
        for part, start in enumerate(starts)
    ]
    claim = partial(Reserved, worker=workers[1], at=int(time.time()))
    bodies += [
        claim(app_tag=f"tag{tag % number:08}", left=2_000_000, right=2_000_000 + tag).encode()
        for tag in range(_CLAIMS)
    ]
    with blocking_connection(amqp_url) as connection:
        channel = connection.channel()
        for body in bodies:
            channel.basic_publish(FLEET_EXCHANGE, "", body)
        channel.confirm_delivery()
        channel.basic_publish(FLEET_EXCHANGE, "", b"{}")  # confirmed: all is there


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 if it kept its bars, 1 if not, 2 if it could not run."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--tags", type=positive_int, default=TAGS)
    given, others = parser.parse_known_args(arguments)
    return run_main(partial(measure, number=given.tags), __doc__, DEFAULT, others)


if __name__ == "__main__":
    sys.exit(main())
