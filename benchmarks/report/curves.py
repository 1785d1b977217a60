"""Draws the sweeps of a scaling report: `python -m benchmarks.report.curves RESULTS.json FOLDER`.

A file for each sweep: how many calls a second above, and what each costs below.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.harness.turns import cpu_figure
from benchmarks.report import sweeps as _sweeps
from benchmarks.report.plot_style import PARTS, SERIES, draw
from benchmarks.report.points import scaling_report, series_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Points = Mapping[int, Mapping[str, Any]]
"""The contenders of a series, as JSON has them, by the value that they stand for."""

_LINES = ("-", "--")
_HEIGHT = 5.0  # inches
_BAND = 0.2  # opacity, from the lowest to the highest round


@dataclass(frozen=True)
class Chart:
    """What a file shows. `figures` are those of the lower half, with their colours."""

    name: str
    title: str
    x: str
    series: tuple[str, ...]
    lower: str = f"CPU µs/{_sweeps.PER}"
    figures: Mapping[str, str] = field(
        default_factory=lambda: {
            cpu_figure(part, _sweeps.PER): PARTS[part]
            for part in ("client", "worker", "broker", "mysql")
        }
    )
    geometric: bool = True
    """Whether the parameter grows by factors."""
    wide: bool = False
    """Whether the figures do."""


_CALLERS = (_sweeps.CLIENT_SERIES, _sweeps.PLAIN_SERIES)
CHARTS = (
    Chart(
        "processes",
        f"Worker processes, {_sweeps.IN_FLIGHT} requests in flight",
        "processes",
        (_sweeps.PROCESSES_SERIES,),
        geometric=False,
    ),
    Chart(
        "tags",
        f"Tags in rotation, {_sweeps.IN_FLIGHT} requests in flight",
        "tags",
        (_sweeps.TAGS_SERIES,),
    ),
    Chart("callers", "Callers, one id at a time", "callers", _CALLERS, wide=True),
    Chart(
        "latency",
        "Callers, one id at a time",
        "callers",
        _CALLERS,
        lower="ms until the answer",
        figures={"median ms": SERIES[0], "p99 ms": SERIES[1]},
        wide=True,
    ),
    Chart(
        "count",
        f"Ids per request, {_sweeps.IN_FLIGHT} requests in flight",
        "ids per request",
        (_sweeps.COUNT_SERIES,),
    ),
)


def save(report: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draw the sweeps that a report, as JSON has it, tells of; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    return list(_files(series_of(report["contenders"]), folder))


def _files(found: Mapping[str, Points], folder: Path) -> Iterator[Path]:
    for chart in CHARTS:
        lines = {name: found[name] for name in chart.series if name in found}
        if lines:
            path = folder / f"scaling-{chart.name}.svg"
            draw(path, _HEIGHT, partial(_paint, chart, lines))
            yield path


def _paint(chart: Chart, lines: Mapping[str, Points], upper: "Axes") -> None:
    figure = upper.figure
    grid = figure.add_gridspec(2, 1)
    upper.set_subplotspec(grid[0])
    lower = figure.add_subplot(grid[1], sharex=upper)
    upper.set_title(chart.title)
    upper.set_ylabel(_sweeps.UNIT)
    lower.set_ylabel(chart.lower)
    lower.set_xlabel(chart.x)
    for colour, style, (name, points) in zip(SERIES, _LINES, lines.items(), strict=False):
        _rates(upper, name, points, color=colour, linestyle=style)
        prefix = f"{name.partition(',')[0]}: " if len(lines) > 1 else ""
        for figure_name, own_colour in chart.figures.items():
            label = prefix + figure_name.removesuffix(f" CPU us/{_sweeps.PER}")
            _figure(lower, label, figure_name, points, color=own_colour, linestyle=style)
    _scale(chart, (upper, lower), sorted({x for points in lines.values() for x in points}))
    lower.legend(ncols=len(lines))
    if len(lines) > 1:
        upper.legend()


def _rates(axes: "Axes", label: str, points: Points, **look: Any) -> None:
    values = sorted(points)
    axes.plot(values, [points[x]["median"] for x in values], marker="o", label=label, **look)
    rounds = [points[x]["figures"] for x in values]
    low, high = [min(figures) for figures in rounds], [max(figures) for figures in rounds]
    axes.fill_between(values, low, high, color=look["color"], alpha=_BAND, linewidth=0)


def _figure(axes: "Axes", label: str, name: str, points: Points, **look: Any) -> None:
    told = [x for x in sorted(points) if name in points[x]["more"]]
    medians = [points[x]["more"][name]["median"] for x in told]
    if any(medians):  # what uses nothing needs no line
        axes.plot(told, medians, marker="o", label=label, **look)


def _scale(chart: Chart, both: Sequence["Axes"], values: Sequence[int]) -> None:
    for axes in both:
        if chart.wide:
            axes.set_yscale("log")
        else:
            axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter("{x:,.6g}")
        axes.grid(visible=True)
    if chart.geometric:
        both[-1].set_xscale("log")
    both[-1].set_xticks(values, [f"{value:,}" for value in values], minor=False)
    both[-1].minorticks_off()
    both[0].tick_params(labelbottom=False)


def main(arguments: Sequence[str]) -> int:
    """Draw what a file holds: a scaling report, or all reports of a run with one among them."""
    source, folder = map(Path, arguments)
    content = json.loads(source.read_text())
    for path in save(scaling_report(content), folder):
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
