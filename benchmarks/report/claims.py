"""Fills in the figures that pages claim, so that nobody types one, and finds those that are typed.

A figure in prose stands between two comments, which a reader does not see:

    <!--= async_singles; AsyncIdClient / floor -->0.53<!--=-->

The first one says where it is in the results, its parts divided by semicolons: the race; a
contender, or two whose ratio it is; another figure than the main one, if meant; and `range`, for
the lowest and the highest round. `environment; cpu` is what the run describes. What another
measurement has found, or nothing but an example, says so: `by hand; python -m benchmarks.prove`.
No line may begin with such a comment: to Markdown that ends the paragraph.
"""

import re
from collections.abc import Iterator, Mapping
from statistics import median
from typing import Any

from benchmarks.harness.launch import Found
from benchmarks.report.document import Document
from benchmarks.report.texts import ratio

MISSING = "(not measured)"

_MARK = re.compile(r"<!--= (?P<key>[^>]+?) -->(?P<shown>.*?)<!--=-->", re.DOTALL)
_BY_HAND, _ENVIRONMENT, _RANGE = "by hand", "environment", "range"
_HIDDEN = re.compile(
    r"^```.*?^```$"  # code
    r"|^<!-- (?P<block>\w+): begin -->$.*?^<!-- (?P=block): end -->$"  # written as a whole
    r"|^\|.*?$",  # tables of what is so by construction
    re.DOTALL | re.MULTILINE,
)
_NUMBER = r"\d[\d,.]*"
_RATE = re.compile(rf"{_NUMBER}\s+(?:\w+/s\b|(?:\w+\s+)?a\s+second\b|µs|us\b|microseconds?)")
_ALSO_TIMES = re.compile(rf"{_RATE.pattern}|{_NUMBER}\s+(?:ms|times)\b|(?<![\d.])\d+\.\d+(?![\d.])")


def fill(text: str, document: Document) -> str:
    """Write what the results say in place of what stands between marks."""

    def told(mark: re.Match[str]) -> str:
        key = mark["key"]
        if key.startswith(_BY_HAND):
            return mark[0]
        return f"<!--= {key} -->{claim(key, document)}<!--=-->"

    return _MARK.sub(told, text)


def keys(text: str) -> Iterator[str]:
    """List what a page claims, but for what it says was found in another way."""
    return (mark["key"] for mark in _MARK.finditer(text) if not mark["key"].startswith(_BY_HAND))


def claim(key: str, document: Document) -> str:
    """Tell the figure that a key names."""
    where, name, *rest = key.split("; ")
    if where == _ENVIRONMENT:
        return document.environment.get(name, MISSING)
    wide = _RANGE in rest
    [of] = [part for part in rest if part != _RANGE] or [""]
    values = figures(document.races.get(where), name, of)
    if not values:
        return MISSING
    write = ratio if " / " in name else number
    return f"{write(min(values))} to {write(max(values))}" if wide else write(median(values))


def figures(report: Found | None, name: str, of: str = "") -> list[float]:
    """Give the rounds of a contender, or of the ratio of two; none if they were not measured."""
    sides = [_rounds(report, side, of) for side in name.split(" / ")]
    if len(sides) == 1 or not all(sides):
        return sides[0] if all(sides) else []
    return [ours / theirs for ours, theirs in zip(*sides, strict=True) if theirs]


def _rounds(report: Found | None, name: str, of: str) -> list[float]:
    found: list[Mapping[str, Any]] = [] if report is None else report["contenders"]
    for contender in found:
        if contender["name"] == name:
            told = contender["more"].get(of) if of else contender
            return list(told["figures"]) if told else []
    return []


def number(value: float) -> str:
    """Write three digits of a figure: no run tells more."""
    rounded = float(f"{value:.3g}")
    return f"{rounded:,.0f}" if abs(rounded) >= 100 else f"{rounded:g}"


def typed(text: str, *, times: bool) -> Iterator[str]:
    """Find figures of speed that stand outside of marks, blocks and tables.

    `times` counts times and ratios too: where a page is about nothing else.
    """
    shown = _MARK.sub("", _HIDDEN.sub("", text))
    for found in (_ALSO_TIMES if times else _RATE).finditer(shown):
        yield " ".join(found[0].split())
