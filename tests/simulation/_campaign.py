"""Runs many schedules, on several processes, and says which of them broke a rule."""

import gc
import multiprocessing
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from math import inf

from tests.simulation._run import Outcome, run
from tests.simulation._shrink import kind_of, shrink
from tests.simulation._weather import WEATHERS, Weather

_AT_A_TIME = 50
FOUND_MOST = 20
"""Schedules that broke a rule, after which no more are looked for."""

Knobs = dict[str, int]


@dataclass
class Campaign:
    """What came of many schedules."""

    schedules: int = 0
    seconds: float = 0.0
    found: dict[int, str] = field(default_factory=dict)
    """What broke, by the seed of the schedule."""
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, other: "Campaign") -> None:
        """Take in what another one saw."""
        self.schedules += other.schedules
        self.found |= other.found
        self.counts.update(other.counts)

    def of_kind(self, kind: str) -> int:
        """Count the schedules that broke a rule."""
        return sum(kind_of(found) == kind for found in self.found.values())

    def as_text(self) -> str:
        """Say it in some lines."""
        counts = ", ".join(f"{name} {number:,}" for name, number in sorted(self.counts.items()))
        rules = Counter(kind_of(found) or "" for found in self.found.values())
        broken = ", ".join(f"{kind} {number}" for kind, number in sorted(rules.items())) or "none"
        return (
            f"{self.schedules:,} schedules in {self.seconds:.0f} s; rules broken: {broken}\n"
            f"seen: {counts}"
        )


def weather_of(seed: int, knobs: Knobs) -> tuple[str, Weather]:
    """Tell what weather a seed has, some knobs turned."""
    name = list(WEATHERS)[seed % len(WEATHERS)]
    return name, replace(WEATHERS[name], **knobs)  # type: ignore[arg-type]  # the numbers among it


def seeds_of(seeds: range, weathers: Sequence[str]) -> Sequence[int]:
    """Leave out seeds of other weathers; without any named, keep all."""
    if not weathers:
        return seeds
    return [seed for seed in seeds if weather_of(seed, {})[0] in weathers]


def run_seed(seed: int, knobs: Knobs) -> Outcome:
    """Run one schedule."""
    return run(weather_of(seed, knobs)[1], seed=seed)


def run_some(seeds: Sequence[int], knobs: Knobs) -> Campaign:
    """Run a few schedules in this process; their garbage goes at the end."""
    campaign = Campaign()
    enabled = gc.isenabled()
    gc.disable()
    try:
        for seed in seeds:
            outcome = run_seed(seed, knobs)
            campaign.schedules += 1
            campaign.counts.update(outcome.counts)
            if outcome.found is not None:
                campaign.found[seed] = outcome.found
    finally:
        gc.collect()
        if enabled:
            gc.enable()
    return campaign


def run_many(
    seeds: Sequence[int],
    *,
    knobs: Knobs | None = None,
    processes: int = 1,
    seconds: float = inf,
    most: int = FOUND_MOST,
    on_progress: Callable[[Campaign], None] | None = None,
) -> Campaign:
    """Run schedules until all are done, the time is up or enough of them broke a rule."""
    began = time.monotonic()
    chunks = [seeds[start : start + _AT_A_TIME] for start in range(0, len(seeds), _AT_A_TIME)]
    campaign = Campaign()
    for part in _parts(chunks, knobs or {}, processes):
        campaign.add(part)
        campaign.seconds = time.monotonic() - began
        if on_progress is not None:
            on_progress(campaign)
        if len(campaign.found) >= most or campaign.seconds >= seconds:
            break
    return campaign


def _parts(chunks: list[Sequence[int]], knobs: Knobs, processes: int) -> Iterator[Campaign]:
    work = partial(run_some, knobs=knobs)
    if processes == 1:
        yield from map(work, chunks)
        return
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        yield from pool.imap_unordered(work, chunks)


def story(seed: int, knobs: Knobs) -> str:
    """Tell in short how the schedule of a seed breaks a rule, and how to see it again."""
    name, weather = weather_of(seed, knobs)
    outcome = run(weather, seed=seed)
    if outcome.found is None:
        return f"seed {seed} ({name}): no rule is broken"
    short = shrink(weather, outcome)
    turned = "".join(f" --set {knob}={value}" for knob, value in knobs.items())
    lines = [
        f"seed {seed} ({name}): {short.found}",
        f"cut down from {len(outcome.steps)} to {len(short.steps)} steps:",
        *short.log,
        f"again: python -m tests.simulation --schedules 1 --seed {seed}{turned}",
    ]
    return "\n".join(lines)
