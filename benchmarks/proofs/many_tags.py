"""What a hundred thousand tags cost a worker: memory for each, and time for a request.

One worker hands out ids of all of them in turn, another one those of a single tag. The same
requests go to each, one at a time and at a steady pace. `--tags N` says how many tags; to get them
warm takes some minutes, as each needs two segments.
"""

import argparse
import random
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from statistics import median

from benchmarks.harness.command import main as run_main
from benchmarks.harness.command import positive_int
from benchmarks.harness.machine import resident_bytes
from benchmarks.harness.runner import Bar, Plan, Race, Report, progress, run, with_figure
from benchmarks.harness.site import Site, one_worker
from benchmarks.harness.turns import Contender, Sample
from benchmarks.peers.raw_requests import RawRequests, raw_requests
from benchmarks.report.points import point
from benchmarks.report.sweeps import percentile, warm_up
from idalloc_schemas import ALLOC_QUEUE

TITLE = "Many tags in one worker; times in us, medians"
DEFAULT = Plan(rounds=7, seconds=2.0, budget=120.0)
TAGS = 100_000
MEMORY = "bytes of the worker for each tag"
MOST_MEMORY = 2048
MOST_LATENCY = 1.2

_ALONE, _PACED = "one request at a time, tags", "500 requests/s, tags"
_PACE = 500.0  # per second
_MICROSECONDS = 1e6
_PATIENCE = 900.0  # seconds for all tags to get warm


def measure(plan: Plan, number: int = TAGS) -> Report:
    """Warm all tags up, weigh the worker, then let the two workers take turns."""
    with ExitStack() as closing:
        site, lone = (closing.enter_context(one_worker()) for _ in range(2))
        memory = _weigh(site, number)
        # In an order of no kind: neighbours in memory would be a help that nobody has.
        tags = [f"t{index}" for index in range(number)]
        random.Random(1).shuffle(tags)
        many = closing.enter_context(raw_requests(site.amqp_url, ALLOC_QUEUE, tags))
        one = closing.enter_context(raw_requests(lone.amqp_url, ALLOC_QUEUE, lone.add_tags("t", 1)))
        contenders = [
            Contender(point(series, count), partial(turn, requests), {"worker": workers})
            for series, turn in ((_ALONE, _one_at_a_time), (_PACED, _at_a_pace))
            for count, requests, workers in (
                (number, many, site.processes["worker"]),
                (1, one, lone.processes["worker"]),
            )
        ]
        bars = [
            Bar(point(series, number), (point(series, 1),), MOST_LATENCY, at_least=False)
            for series in (_ALONE, _PACED)
        ]
        report = run(Race(TITLE, "", contenders, bars, site.processes), plan)
    return with_figure(report, MEMORY, [memory], MOST_MEMORY, "bytes")


def _weigh(site: Site, number: int) -> float:
    """Warm tags up; return how many bytes the worker has grown by for each."""
    worker = site.processes["worker"]
    idle = resident_bytes(worker)
    warm_up(site, site.add_tags("t", number), _PATIENCE)
    grown = resident_bytes(worker) - idle
    progress(f"{TITLE}: {idle / 1e6:,.1f} MB idle, {grown / 1e6:,.1f} MB more for {number:,} tags")
    return grown / number


def _one_at_a_time(requests: RawRequests, seconds: float) -> Sample:
    return _sample(requests.round_trips(1, seconds))


def _at_a_pace(requests: RawRequests, seconds: float) -> Sample:
    return _sample(requests.latencies(_PACE, seconds))


def _sample(taken: Sequence[float]) -> Sample:
    slow = percentile(sorted(taken), 0.99)
    return Sample(median(taken) * _MICROSECONDS, {"p99 us": slow * _MICROSECONDS})


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 if it kept its bars, 1 if not, 2 if it could not run."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--tags", type=positive_int, default=TAGS)
    given, others = parser.parse_known_args(arguments)
    return run_main(partial(measure, number=given.tags), __doc__, DEFAULT, others)


if __name__ == "__main__":
    sys.exit(main())
