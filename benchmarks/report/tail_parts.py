"""Draws where the time of the slowest requests goes: a bar of parts for each sender and worker."""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from statistics import median_low
from typing import TYPE_CHECKING, Any, Final

from benchmarks.harness.launch import Found
from benchmarks.report.plot_style import draw, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS: Final = ("#56b4e9", "#e69f00", "#cc79a7", "#0072b2", "#f5c96b")
_HEIGHT: Final = 3.3  # inches
_ROOM: Final = 1.15  # times the longest bar: its label stands beside it


def save(report: Found, folder: Path) -> Iterator[Path]:
    """Draw the one picture of the race."""
    path = folder / "tail_parts.svg"
    draw(path, _HEIGHT, partial(_paint, report))
    yield path


def _paint(report: Found, axes: "Axes") -> None:
    names = [one["name"] for one in report["contenders"]]
    parts = [part for part in report["contenders"][0]["more"] if " CPU " not in part]
    ends = [0.0] * len(names)
    for part, colour in zip(parts, _COLOURS, strict=True):
        widths = [_of_middle_round(one, part) / 1000 for one in report["contenders"]]
        axes.barh(names, widths, left=list(ends), height=0.68, color=colour, label=part)
        ends = [end + width for end, width in zip(ends, widths, strict=True)]
    for row, end in enumerate(ends):
        axes.annotate(
            number(end), (end, row), (4, 0), textcoords="offset points", va="center", fontsize=9
        )
    axes.invert_yaxis()
    axes.grid(axis="x")
    axes.set_xlim(0, max(ends) * _ROOM)
    axes.set_title(report["title"], loc="left")
    axes.set_xlabel("ms, mean of the slowest of a thousand in the middle round (less is better)")
    axes.legend(ncols=3, loc="upper left", bbox_to_anchor=(0, -0.25))


def _of_middle_round(contender: Mapping[str, Any], part: str) -> float:
    """Take the part from the round whose total is the median one, so that parts add up to it."""
    totals: list[float] = contender["figures"]
    figures: list[float] = contender["more"][part]["figures"]
    return figures[totals.index(median_low(totals))]
