"""Names the points of a sweep, so that a chart can be drawn from what a report says of them."""

from collections.abc import Iterable, Mapping
from typing import Any

from benchmarks.harness.runner import BenchmarkError

_SEPARATOR = " = "


def point(series: str, value: int) -> str:
    """Name what one contender stands for: "tags in rotation = 10,000"."""
    return f"{series}{_SEPARATOR}{value:,}"


def series_of(contenders: Iterable[dict[str, Any]]) -> dict[str, dict[int, dict[str, Any]]]:
    """Sort the contenders of a report, as JSON has it, by series and value.

    Those whose names are no points are left out.
    """
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for contender in contenders:
        series, separator, value = contender["name"].rpartition(_SEPARATOR)
        if separator:
            found.setdefault(series, {})[int(value.replace(",", ""))] = contender
    return found


def scaling_report(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """Find the report in what a file of results holds: it alone, or those of a whole run."""
    races = content.get("races", content)
    report: Mapping[str, Any] = races.get("scaling", races)
    if "contenders" not in report:
        raise BenchmarkError("there is no scaling report among the results")
    return report
