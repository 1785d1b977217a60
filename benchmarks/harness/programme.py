"""What `make bench` runs, and how it shares its time out among the races."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """A race in the programme: a module of that name in `benchmarks.races`.

    Args:
        name: the module.
        seconds: what it takes by its own plan, from the start of its process to the end.
        quick: the same in a quick run; 0 where it is left out of one.
        start: the part of both until its first turn, while its worker and its peers start.
        needs_url: whether it runs only against the reference service that `--reference-url` names.
    """

    name: str
    seconds: float
    quick: float = 0.0
    start: float = 3.0
    needs_url: bool = False


RACES = (
    Entry("single_requests", 46, quick=15, start=5),
    Entry("async_singles", 46, quick=11, start=5),
    Entry("threads", 36, start=5),
    Entry("lone_call", 30, quick=6),
    Entry("tail", 52, start=10),
    Entry("tail_parts", 16, start=8),
    Entry("in_process", 20, quick=5),
    Entry("sequences", 18),
    Entry("ordered", 32),
    Entry("quorum", 34, start=6),
    Entry("frames", 8),
    Entry("garbage", 6),
    Entry("in_flight", 36, start=4),
    Entry("start_up", 32, start=12),  # workers start after its turns
    Entry("http_reference", 26, needs_url=True),
    Entry("scaling", 92, start=40),
)

PROOFS = (
    "simulation",
    "cancellations",
    "outage",
    "lost_answers",
    "first_call",
    "promotion",
    "rewind",
    "adaptive_step",
    "many_tags",
    "marks",
    "health_flood",
    "attacks",
)
"""Benchmarks whose bars are counts that must be right, however long that takes: `make prove`."""


APART = ("cluster", "places", "prefetch")
"""Races that are started by themselves: they start many servers or workers, or try out settings."""


def module_of(name: str) -> str:
    """Return the module that runs a benchmark of the programme."""
    return f"benchmarks.{'proofs' if name in PROOFS else 'races'}.{name}"


@dataclass(frozen=True)
class Limits:
    """The seconds of a whole run, servers included: what is planned, and what is never exceeded.

    The difference is for a machine that is slow to start and to stop things.
    """

    planned: float
    most: float


FULL = Limits(planned=545, most=590)
QUICK = Limits(planned=48, most=58)

_STOPPING = 5.0  # seconds for the servers to stop, after the last race
_NOT_WORTH_IT = 2.0  # seconds in which no race gets anywhere
_SLACK = 1.5  # times its share that a race may take, at most
_SLACK_SECONDS = 5.0  # and a bit for those with a small share


@dataclass(frozen=True)
class Share:
    """What one race may take: the seconds that are planned, and those after which it is stopped."""

    planned: float
    limit: float


def share(seconds: Sequence[float], passed: float, limits: Limits) -> Share | None:
    """Give the next race its part of the time that is left; None if that is not worth a start.

    What a race leaves over is shared out among those after it.

    Args:
        seconds: what the races that are still to run take, the next one first.
        passed: seconds since the run began, with the start of the servers.
        limits: of the run.
    """
    left = limits.planned - passed
    planned = left * seconds[0] / sum(seconds)
    limit = min(planned * _SLACK + _SLACK_SECONDS, limits.most - _STOPPING - passed)
    if min(planned, limit) < _NOT_WORTH_IT:
        return None
    return Share(planned, limit)


def time_left(seconds: Sequence[float], passed: float, limits: Limits) -> float:
    """Estimate the seconds that the races still to run will take."""
    return max(0.0, min(sum(seconds), limits.planned - passed))
