"""The look that all plots share, and how one is saved.

Each is a small SVG on white, which reads on dark pages too. The same figures make the same bytes,
so that a plot changes in the history only when what it shows does. Text stays text: it can be
searched and selected, and it needs no outlines of letters.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.harness.runner import BenchmarkError

try:
    from matplotlib import rc_context
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
except ImportError as error:
    _missing = error.name
else:
    _missing = None

OURS, PEER = "#0072b2", "#9aa5ad"
"""Fills of what is idalloc's, and of what it is compared with."""

PARTS = {
    "client": "#56b4e9",
    "worker": "#0072b2",
    "broker": "#e69f00",
    "mysql": "#009e73",
    "redis": "#d55e00",
}
"""Fills of the processes that take part: colours that people who see few tell apart."""

SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#595959")
"""Lines of a chart, in the order of use."""

_STYLE: dict[Any, Any] = {  # matplotlib spells its keys out as one long Literal
    "svg.fonttype": "none",
    "svg.hashsalt": "idalloc",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial"],
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.edgecolor": "#595959",
    "axes.formatter.useoffset": False,
    "figure.facecolor": "white",
    "grid.color": "#d9d9d9",
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.8,
    "lines.markersize": 4,
    "path.simplify": True,
}
_WIDTH = 7.2  # inches, of 72 points each: what a page shows without scaling


def require() -> None:
    """Raise BenchmarkError unless plots can be drawn."""
    if _missing is not None:
        raise BenchmarkError(f"{_missing} is missing; install it: pip install 'idalloc[bench]'")


def draw(path: Path, height: float, paint: "Callable[[Axes], None]") -> None:
    """Make a plot of one pair of axes.

    Args:
        path: the SVG file.
        height: inches.
        paint: puts the content on the axes.

    Raises:
        BenchmarkError: matplotlib is missing.
    """
    require()
    with rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        paint(figure.add_subplot())
        # Neither a date nor the version of the library: both would change without the figures.
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})


def number(value: float) -> str:
    """Write a figure as a label: 1,234,567 or 0.123, three digits where it is small."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
