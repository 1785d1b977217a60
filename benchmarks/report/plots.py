"""Draws the results of a run: `python -m benchmarks.report.plots RESULTS.json FOLDER`.

For each race a picture, NAME.svg: above what each request or the like costs each process in CPU
time, where that is told, and below the medians. A line goes from the lowest to the highest round.
"""

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.harness.launch import Found
from benchmarks.harness.runner import BenchmarkError
from benchmarks.harness.turns import ALL, cpu_figure, cpu_part
from benchmarks.report import curves as _curves
from benchmarks.report import document as _document
from benchmarks.report import tail_parts as _tail_parts
from benchmarks.report.document import Document
from benchmarks.report.plot_style import OURS, PARTS, PEER, SERIES, draw, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LOGARITHMIC_FROM = 40.0
"""Times the smallest median that the largest one is, where bars in proportion no longer show it."""

_BAR, _FRAME = 0.34, 1.0  # inches: of height for a contender, and for title and axis
Paint = Callable[["Axes"], None]
"""Puts one chart on its axes."""

_LINE: Mapping[str, Any] = {"ecolor": "#262626", "elinewidth": 1.2, "capsize": 3}
_THOUSANDS = "{x:,.6g}"
_ROOM = 1.22  # times the longest bar: its label stands beside it


def save(document: Document, folder: Path) -> list[Path]:
    """Draw all races into a folder, which is made; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    return [path for name, report in document.races.items() for path in _draw(name, report, folder)]


def _draw(name: str, report: Found, folder: Path) -> Iterable[Path]:
    own = {"scaling": _curves.save, "tail_parts": _tail_parts.save}
    return own[name](report, folder) if name in own else _race(name, report, folder)


def _race(name: str, report: Found, folder: Path) -> Iterator[Path]:
    parts: list[tuple[float, Paint]] = []
    costs = cpu_costs(report)
    if costs:
        parts.append((_height(len(costs) + 1), partial(_costs, report, costs)))
    if report["unit"]:  # without one, the figures are of several kinds and share no axis
        parts.append((_height(len(report["contenders"])), partial(_figures, report)))
    if parts:
        path = folder / f"{name}.svg"
        draw(path, sum(height for height, _ in parts), partial(_one_below_the_other, parts))
        yield path


def _one_below_the_other(parts: Sequence[tuple[float, Paint]], first: "Axes") -> None:
    figure = first.figure
    grid = figure.add_gridspec(len(parts), 1, height_ratios=[height for height, _ in parts])
    first.set_subplotspec(grid[0])
    for number_of, (_, paint) in enumerate(parts):
        paint(figure.add_subplot(grid[number_of]) if number_of else first)


def _height(bars: int) -> float:
    return _FRAME + _BAR * bars


def _figures(report: Found, axes: "Axes") -> None:
    contenders = report["contenders"]
    ours = {bar["subject"] for bar in report["bars"]}
    medians = [one["median"] for one in contenders]
    bars = axes.barh(
        [one["name"] for one in contenders],
        medians,
        height=0.68,
        color=[OURS if one["name"] in ours else PEER for one in contenders],
        xerr=_spread(contenders),
        error_kw=_LINE,
    )
    axes.bar_label(bars, [number(value) for value in medians], padding=4, fontsize=9)
    axes.invert_yaxis()
    axes.grid(axis="x")
    axes.set_title(report["title"], loc="left")
    better = "less is better" if less_is_better(report) else "more is better"
    if logarithmic(medians):
        axes.set_xscale("log")
        axes.set_xlim(min(medians) / 3, max(medians) * 4)
        better += ", logarithmic scale"
    else:
        axes.set_xlim(0, max(max(one["figures"]) for one in contenders) * _ROOM)
        axes.xaxis.set_major_formatter(_THOUSANDS)
    axes.set_xlabel(f"{report['unit']} ({better})")


def _spread(contenders: Sequence[Mapping[str, Any]]) -> list[list[float]]:
    """Give the distances from the medians down to the lowest rounds, and up to the highest."""
    return [
        [max(0.0, one["median"] - min(one["figures"])) for one in contenders],
        [max(0.0, max(one["figures"]) - one["median"]) for one in contenders],
    ]


def less_is_better(report: Found) -> bool:
    """Tell whether figures are times: the bars on them say so."""
    return any(not bar["at_least"] for bar in report["bars"] if not bar["of"])


def logarithmic(medians: Sequence[float]) -> bool:
    """Tell whether figures are so far apart that only a logarithmic scale shows them all."""
    return min(medians) > 0 and max(medians) / min(medians) > _LOGARITHMIC_FROM


Costs = Mapping[str, Mapping[str, float]]
"""CPU microseconds by process, for each contender."""


def cpu_costs(report: Found) -> Costs:
    """Pick what each request costs each process, by contender."""
    costs = {
        one["name"]: {
            part: figure["median"]
            for name, figure in one["more"].items()
            if (part := cpu_part(name, report["cpu_per"])) not in {None, ALL}
        }
        for one in report["contenders"]
    }
    return {name: parts for name, parts in costs.items() if parts}


def _costs(report: Found, costs: Costs, axes: "Axes") -> None:
    names = list(costs)
    ends = dict.fromkeys(names, 0.0)
    for part, colour in _colours(costs).items():
        widths = [costs[name].get(part, 0.0) for name in names]
        axes.barh(names, widths, left=list(ends.values()), height=0.68, color=colour, label=part)
        ends = {name: ends[name] + width for name, width in zip(names, widths, strict=True)}
    totals = [_total(report, name, end) for name, end in ends.items()]
    for row, one in enumerate(totals):
        at = max(one["median"], *one["figures"]), row
        axes.annotate(
            number(one["median"]), at, (6, 0), textcoords="offset points", va="center", fontsize=9
        )
    axes.errorbar(list(ends.values()), names, xerr=_spread(totals), **_LINE, fmt="none")
    axes.invert_yaxis()
    axes.grid(axis="x")
    axes.set_xlim(0, max(max(one["figures"]) for one in totals) * _ROOM)
    axes.xaxis.set_major_formatter(_THOUSANDS)
    axes.set_title(f"{report['title']}: CPU", loc="left")
    axes.set_xlabel(f"CPU microseconds per {report['cpu_per']}, medians (less is better)")
    axes.legend(ncols=5, loc="upper left", bbox_to_anchor=(0, -0.04 - 0.5 / _height(len(names))))


def _total(report: Found, contender: str, end: float) -> Mapping[str, Any]:
    """Give the rounds of all processes' CPU time; the end of the bar where they are not told."""
    [more] = [one["more"] for one in report["contenders"] if one["name"] == contender]
    figures = more.get(cpu_figure(ALL, report["cpu_per"]), {"figures": [end]})["figures"]
    return {"median": end, "figures": figures}


def _colours(costs: Costs) -> dict[str, str]:
    """Choose a colour for each part that costs anything, those of every race first."""
    found = dict.fromkeys(part for parts in costs.values() for part, used in parts.items() if used)
    known = {part: colour for part, colour in PARTS.items() if part in found}
    spare = (colour for colour in SERIES if colour not in PARTS.values())
    return {**known, **{part: next(spare, PEER) for part in found if part not in known}}


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0, or 2 if there are no results to draw, or nothing to draw them with."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report.plots", description=__doc__)
    parser.add_argument("results", type=Path, help="what `python -m benchmarks --json` wrote")
    parser.add_argument("folder", type=Path, help="where the SVG files go")
    given = parser.parse_args(arguments)
    try:
        for path in save(_document.load(given.results), given.folder):
            print(path)
    except BenchmarkError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
