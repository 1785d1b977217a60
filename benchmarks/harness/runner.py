"""Runs contenders in turns and compares them round by round.

A shared machine is fast in one second and slow in the next. Contenders that take turns, A B A B,
meet the same weather, and the ratio of one round says more than two figures of different minutes.
"""

import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from statistics import median, quantiles
from typing import Literal

from benchmarks.harness.quiet import Quiet, wait_for_quiet
from benchmarks.harness.turns import (
    ALL,
    OTHERS,
    Contender,
    Processes,
    Turn,
    cpu_figure,
    cpu_part,
    joined,
    take_turn,
)

_SHORTEST_WARM_UP = 0.2  # seconds
_SHORTEST_TURN = 2 * _SHORTEST_WARM_UP  # while there are rounds that can be left out
_OVERRUN = 1.1  # times its length that a turn takes, with what is in flight at its end
_LEAST = 0.1  # seconds in which anything can be measured at all
_PIECE = 0.25  # seconds, of a turn that is taken in pieces


class BenchmarkError(Exception):
    """A benchmark cannot run; the text tells the person at the terminal what to do."""


@dataclass(frozen=True)
class Plan:
    """How long to measure.

    Args:
        rounds: turns of each contender.
        seconds: the length of one turn.
        budget: seconds from the first warm-up to the end. Turns are shortened to fit, then there
            are fewer rounds.
        patience: seconds to wait before a turn, at most, for other work on the machine to end.
    """

    rounds: int = 5
    seconds: float = 2.0
    budget: float = 120.0
    patience: float = 0.0

    @property
    def warm_up(self) -> float:
        """Seconds of a first turn that does not count."""
        return max(self.seconds / 2, _SHORTEST_WARM_UP)

    def fitted(self, contenders: int, left: float, overhead: float | None = None) -> "Plan":
        """Shorten the turns until all end in so many seconds, then leave rounds out.

        `overhead` is what a turn takes beyond its length; None if the warm-up, which shows it, is
        still to come.
        """
        warm_up = 0.5 if overhead is None else 0.0  # of a turn
        for rounds in range(self.rounds, 0, -1):
            each = left / contenders / (rounds + warm_up)
            seconds = each / _OVERRUN - (overhead or 0.0)
            if seconds >= min(self.seconds, _SHORTEST_TURN):
                break
        return replace(self, rounds=rounds, seconds=min(self.seconds, max(seconds, _LEAST)))


@dataclass(frozen=True)
class Bar:
    """A ratio to keep: subject / peer. Of several peers the best one counts."""

    subject: str
    peers: tuple[str, ...]
    limit: float | None
    """None where the ratio is worth knowing and nothing depends on it."""
    at_least: bool = True
    """Whether figures are rates, of which more is better; else they are times."""
    of: str = ""
    """Which of the figures is meant: one of `Sample.more`, or a `cpu_figure`."""
    quiet_limit: float | None = None
    """The limit on a quiet machine, where that is another one."""
    note: str = ""
    """Which of the two it is."""

    def chosen(self, *, quiet: bool) -> "Bar":
        """Let the machine as it was decide on the limit."""
        if self.quiet_limit is None:
            return self
        if quiet:
            return replace(self, limit=self.quiet_limit, note="on a quiet machine")
        return replace(self, note="beside other work")

    def met_by(self, ratio: float) -> bool:
        """Tell whether a ratio keeps the bar."""
        if self.limit is None:
            return True
        return ratio >= self.limit if self.at_least else ratio <= self.limit

    def best_peer(self, medians: Mapping[str, float]) -> str:
        """Name the peer that is hardest to beat."""
        choose = max if self.at_least else min
        return choose(self.peers, key=lambda name: medians[name])


@dataclass(frozen=True)
class Spread:
    """What several rounds gave."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle value: one disturbed round does not move it far."""
        return median(self.values)

    @property
    def low(self) -> float:
        """The smallest value."""
        return min(self.values)

    @property
    def high(self) -> float:
        """The largest value."""
        return max(self.values)

    @property
    def width(self) -> float:
        """The relative interquartile range: how far apart the middle half of the values lies."""
        if len(self.values) == 1 or not self.median:
            return 0.0
        low, _, high = quantiles(self.values, n=4, method="inclusive")
        return (high - low) / abs(self.median)


@dataclass(frozen=True)
class Result:
    """One contender's figures, and the CPU seconds per second that each process used."""

    name: str
    figures: Spread
    cpu: Mapping[str, float]
    more: Mapping[str, Spread] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """A bar and the ratio of each round."""

    bar: Bar
    peer: str
    ratios: Spread

    @property
    def met(self) -> bool:
        """Whether the median ratio keeps the bar."""
        return self.bar.met_by(self.ratios.median)


@dataclass(frozen=True)
class Report:
    """All that one benchmark found."""

    title: str
    unit: str = ""
    results: tuple[Result, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    rounds: int = 0
    cpu_per: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    quiet: Quiet = field(default_factory=Quiet)
    notes: tuple[str, ...] = ()

    @property
    def met(self) -> bool:
        """Whether every bar is kept."""
        return all(verdict.met for verdict in self.verdicts)


def with_figure(
    report: Report, name: str, values: Sequence[float], most: float, unit: str
) -> Report:
    """Add a figure that no contender gave, and the bar that it is to stay below."""
    result = Result(name, Spread(tuple(values)), {})
    return with_limit(replace(report, results=(*report.results, result)), name, most, unit)


def with_limit(report: Report, name: str, most: float, unit: str) -> Report:
    """Add a bar that a figure is to stay below, whatever others have."""
    [values] = [result.figures.values for result in report.results if result.name == name]
    bar = Bar(name, (f"{most:g} {unit}",), 1, at_least=False)
    verdict = Verdict(bar, bar.peers[0], Spread(tuple(value / most for value in values)))
    return replace(report, verdicts=(verdict, *report.verdicts))


@dataclass(frozen=True)
class Race:
    """A benchmark ready to run; `processes` are those whose CPU time is of interest.

    `cpu_per` names what a rate counts, where CPU time is to be shown for each: "request". `notes`
    tell what a reader has to know of the contenders.

    Those that are named as `alternating`, or all, take their turns in pieces, A B A B within each
    round: a virtual machine's cores change their speed several times a second, by up to two, with
    what other machines of its host do. That is for rates of what is at full speed at once.
    """

    title: str
    unit: str
    contenders: Sequence[Contender]
    bars: Sequence[Bar]
    processes: Processes = field(default_factory=dict)
    cpu_per: str = ""
    notes: tuple[str, ...] = ()
    alternating: Collection[str] | Literal["all"] = ()

    def schedule(self, seconds: float) -> Iterator[tuple[Contender, float]]:
        """Say who runs for how long in a round whose turns have so many seconds."""
        pieces = max(round(seconds / _PIECE), 1)
        for _ in range(pieces):
            for contender in self.contenders:
                if self._alternates(contender):
                    yield contender, seconds / pieces
        for contender in self.contenders:
            if not self._alternates(contender):
                yield contender, seconds

    def _alternates(self, contender: Contender) -> bool:
        return self.alternating == "all" or contender.name in self.alternating


def run(race: Race, plan: Plan, clock: Callable[[], float] = time.monotonic) -> Report:
    """Warm each contender up, then let them take turns."""
    ends = clock() + plan.budget
    plan = _warmed_up(race, plan, clock)
    progress(f"{race.title}: {plan.rounds} rounds, turns of {plan.seconds:.2g} s")
    turns: dict[str, list[Turn]] = {contender.name: [] for contender in race.contenders}
    rounds = waits = 0
    longest = 0.0
    while rounds < plan.rounds:
        before = clock()
        if rounds and before + longest > ends:
            progress(f"{race.title}: out of time after {rounds} rounds")
            break
        pieces: dict[str, list[Turn]] = {name: [] for name in turns}
        left = (plan.rounds - rounds) * len(turns) * plan.seconds
        for contender, seconds in race.schedule(plan.seconds):
            if not pieces[contender.name]:  # to wait between pieces would take them apart
                waits += wait_for_quiet(plan.patience)
            turn = take_turn(contender, race.processes, seconds, clock)
            pieces[contender.name].append(turn)
            left -= seconds
            progress(
                f"{race.title}: {rounds + 1}/{plan.rounds} {contender.name} "
                f"{turn.sample.figure:,.1f} {race.unit}, {left:.0f} s left"
            )
        for name, given in pieces.items():
            turns[name].append(joined(given))
        rounds += 1
        longest = max(longest, clock() - before)
    results = tuple(_result(name, given, race.cpu_per) for name, given in turns.items())
    others = tuple(turn.cpu[OTHERS] for turn in chain.from_iterable(turns.values()))
    quiet = Quiet(others, waits=waits)
    return Report(
        title=race.title,
        unit=race.unit,
        results=results,
        verdicts=_verdicts(race, results, quiet),
        rounds=rounds,
        cpu_per=race.cpu_per,
        quiet=quiet,
        notes=race.notes,
    )


def _verdicts(race: Race, results: Sequence[Result], quiet: Quiet) -> tuple[Verdict, ...]:
    """Judge all bars, and the CPU time beside each figure; CPU time, the steadier one, is first."""
    given = [judge(bar.chosen(quiet=quiet.kept), _figures(results, bar.of)) for bar in race.bars]
    of = cpu_figure(ALL, race.cpu_per)
    costs = _figures(results, of)
    pairs = dict.fromkeys(
        (verdict.bar.subject, verdict.peer)
        for verdict in given
        if cpu_part(verdict.bar.of, race.cpu_per) is None
    )
    beside = [
        judge(Bar(subject, (peer,), None, at_least=False, of=of), costs)
        for subject, peer in pairs
        if subject in costs and peer in costs and costs[peer].low > 0
    ]
    first = [one for one in given if cpu_part(one.bar.of, race.cpu_per) is not None]
    return (*first, *beside, *(one for one in given if one not in first))


def _warmed_up(race: Race, plan: Plan, clock: Callable[[], float]) -> Plan:
    """Warm each contender up; return the plan that the rest of the time allows."""
    number = len(race.contenders)
    warm_up = plan.fitted(number, plan.budget).warm_up
    began = clock()
    for contender in race.contenders:
        progress(f"{race.title}: warming up {contender.name}")
        contender.measure(warm_up)
    # What is in flight at the end of a turn is waited for, and the machine may be busy.
    took = clock() - began
    return plan.fitted(number, plan.budget - took, max(0.0, took / number - warm_up))


def judge(bar: Bar, figures: Mapping[str, Spread]) -> Verdict:
    """Compare the subject with its best peer, round by round."""
    peer = bar.best_peer({name: spread.median for name, spread in figures.items()})
    pairs = zip(figures[bar.subject].values, figures[peer].values, strict=True)
    return Verdict(bar, peer, Spread(tuple(subject / other for subject, other in pairs)))


def _figures(results: Sequence[Result], of: str) -> dict[str, Spread]:
    if not of:
        return {result.name: result.figures for result in results}
    return {result.name: result.more[of] for result in results if of in result.more}


def progress(text: str) -> None:
    """Tell the person who waits how far it is."""
    print(text, file=sys.stderr, flush=True)


def _result(name: str, turns: Sequence[Turn], cpu_per: str) -> Result:
    figures = [turn.figures(cpu_per) for turn in turns]
    return Result(
        name,
        Spread(tuple(turn.sample.figure for turn in turns)),
        {part: median(turn.cpu[part] for turn in turns) for part in turns[0].used},
        {figure: Spread(tuple(more[figure] for more in figures)) for figure in figures[0]},
    )
