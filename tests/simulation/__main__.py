"""Runs a fleet of real workers through random schedules on a simulated broker and database.

Each schedule follows from its seed. One that breaks a rule (an id twice, a false repair, an order
violation, ids that nobody counted, a request without an answer) is cut down and told.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import fields

from tests.simulation._campaign import FOUND_MOST, Campaign, run_many, seeds_of, story
from tests.simulation._shrink import kind_of
from tests.simulation._weather import WEATHERS, Weather

_EVERY = 5000


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 if no rule was broken, 1 if one was."""
    given = _parser().parse_args(arguments)
    knobs = dict(given.set)
    seeds = seeds_of(range(given.seed, given.seed + given.schedules), given.weather)
    most = 1 if given.first else FOUND_MOST
    campaign = run_many(seeds, knobs=knobs, processes=given.processes, most=most, on_progress=_show)
    print(campaign.as_text())
    if given.first:
        return 1 if campaign.found else 0
    told: set[str | None] = set()
    for seed, found in sorted(campaign.found.items()):
        if kind_of(found) not in told:
            told.add(kind_of(found))
            print(f"\n{story(seed, knobs)}")
    others = " ".join(map(str, sorted(campaign.found)))
    if others:
        print(f"\nseeds: {others}")
    return 1 if campaign.found else 0


def _show(campaign: Campaign) -> None:
    if campaign.schedules % _EVERY == 0:
        print(f"{campaign.schedules:,} in {campaign.seconds:.0f} s", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--schedules", type=int, default=1000, metavar="N", help="how many")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the first one")
    parser.add_argument(
        "--weather",
        action="append",
        default=[],
        choices=WEATHERS,
        help="run seeds of this weather only, and of others so named",
    )
    parser.add_argument(
        "--first", action="store_true", help="end with the first that breaks a rule; say no more"
    )
    parser.add_argument("--processes", type=int, default=1, metavar="N", help="side by side")
    parser.add_argument(
        "--set",
        type=_knob,
        action="append",
        default=[],
        metavar="KNOB=N",
        help="turn a knob of the weather: " + ", ".join(_knobs()),
    )
    return parser


def _knobs() -> list[str]:
    return [each.name for each in fields(Weather) if each.type in (int, "int")]


def _knob(text: str) -> tuple[str, int]:
    name, _, value = text.partition("=")
    if name not in _knobs():
        raise argparse.ArgumentTypeError(f"{name} is no knob")
    return name, int(value)


if __name__ == "__main__":
    sys.exit(main())
