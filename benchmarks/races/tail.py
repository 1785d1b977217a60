"""How long single requests take, the slowest of them too: alone, and at half of the load.

A sender that does next to nothing asks idalloc's worker and one that only parses JSON and replies.
Both get the same number of requests, half of what the latter can do; idalloc's also half of what
it can do itself, which is more. A request counts from when it was due: a wait of the sender is in
it.
"""

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from statistics import median

from benchmarks.harness.command import main
from benchmarks.harness.runner import Bar, Plan, Race, Report, progress, run
from benchmarks.harness.site import TAG, one_worker, peer
from benchmarks.harness.turns import Contender, Sample
from benchmarks.peers.echo_peer import QUEUE as ECHO
from benchmarks.peers.lean_requests import LeanRequests, lean_requests
from benchmarks.peers.raw_requests import RawRequests
from idalloc_schemas import ALLOC_QUEUE

TITLE = "How long single requests take"
DEFAULT = Plan(rounds=7, seconds=3.0, budget=120.0)

_OURS, _ECHO = "idalloc", "echo"
_ALONE, _HALF = "one at a time", "50 %"
_HALF_OF_OWN = f"{_OURS}, {_HALF} of its own"
_MEDIAN, _P99, _P999 = "median us", "p99 us", "p99.9 us"
BARS = (
    Bar(f"{_OURS}, {_ALONE}", (f"{_ECHO}, {_ALONE}",), 1.1, at_least=False, of=_MEDIAN),
    Bar(f"{_OURS}, {_HALF}", (f"{_ECHO}, {_HALF}",), 2.0, at_least=False, of=_P999),
    Bar(_HALF_OF_OWN, (f"{_ECHO}, {_HALF}",), 1.5, at_least=False, of=_P999),
)

_IN_FLIGHT = 100  # to find out what a worker can do
_PROBES, _PROBE = 5, 0.4  # times for so many seconds


def measure(plan: Plan) -> Report:
    """Let both workers take turns at each load."""
    with one_worker() as site, peer("echo", site.amqp_url) as echo, ExitStack() as closing:
        ours = closing.enter_context(lean_requests(site.amqp_url, ALLOC_QUEUE, TAG))
        theirs = closing.enter_context(lean_requests(site.amqp_url, ECHO, TAG))
        own, full = capacities(((_OURS, ours), (_ECHO, theirs)))
        contenders: list[Contender] = []
        for name, requests, pids in (
            (_OURS, ours, site.processes["worker"]),
            (_ECHO, theirs, [echo]),
        ):
            processes = {"worker": pids}
            half = partial(loaded, requests, full / 2)
            contenders += [
                Contender(f"{name}, {_ALONE}", partial(alone, requests), processes),
                Contender(f"{name}, {_HALF}", half, processes),
            ]
        contenders.append(Contender(_HALF_OF_OWN, partial(loaded, ours, own / 2)))
        race = Race(TITLE, "us, p99.9", contenders, BARS, site.processes, "request")
        return run(race, plan)


def capacities(workers: Sequence[tuple[str, LeanRequests | RawRequests]]) -> list[float]:
    """Find out how many requests a second each worker can answer, in the median of some turns.

    One turn would tell of a moment: half of what a fast one gave is all that a slow one can give.
    """
    for _, requests in workers:
        requests.rate(_IN_FLIGHT, _PROBE)
    turns = [[one.rate(_IN_FLIGHT, _PROBE) for _, one in workers] for _ in range(_PROBES)]
    found = [median(given) for given in zip(*turns, strict=True)]
    for (name, _), most in zip(workers, found, strict=True):
        progress(f"{TITLE}: {name} can do {most:,.0f} requests/s")
    return found


def alone(requests: LeanRequests, seconds: float) -> Sample:
    """Send the next request when the answer is there."""
    return summed_up(requests.round_trips(seconds).taken)


def loaded(requests: LeanRequests, pace: float, seconds: float) -> Sample:
    """Send so many a second."""
    return summed_up(requests.paced(pace, seconds).taken)


def summed_up(seconds: Sequence[float]) -> Sample:
    """Tell median and percentiles in microseconds (nearest rank)."""
    ordered = sorted(seconds)

    def rank(part: float) -> float:
        return ordered[min(int(len(ordered) * part), len(ordered) - 1)] * 1e6

    more = {_MEDIAN: median(ordered) * 1e6, _P99: rank(0.99), _P999: rank(0.999)}
    return Sample(more[_P999], more, len(ordered))


if __name__ == "__main__":
    sys.exit(main(measure, __doc__, DEFAULT))
