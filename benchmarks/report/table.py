"""Writes results as tables: `python -m benchmarks.report.table RESULTS.json FILE.md`."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness.launch import Found
from benchmarks.harness.runner import BenchmarkError
from benchmarks.report import document as _document
from benchmarks.report.document import Document
from benchmarks.report.texts import number

_INTRODUCTION = (
    "What one run gave; written by `make bench-docs`, not by hand. What is compared with what, and "
    "how to read it: [Performance](../performance.md). Figures are medians of the rounds, with the "
    "lowest and the highest round beside them."
)
_QUICK = "**This was a quick run: few and short rounds, so the figures are rough.**"


def as_markdown(document: Document) -> str:
    """Write all races, and what they ran on."""
    parts = ["# Results", _INTRODUCTION]
    if document.quick:
        parts.append(_QUICK)
    parts += [_race(name, report) for name, report in document.races.items()]
    missing = {**document.not_run, **document.left_out}
    if missing:
        parts.append("## Not in this run")
        parts.append("\n".join(f"- `{name}`: {why}" for name, why in missing.items()))
    parts.append("## Machine and versions")
    parts.append(_rows([("what", "found"), *document.environment.items()], words=2))
    return "\n\n".join(parts) + "\n"


def _race(name: str, report: Found) -> str:
    unit = report["unit"] and f"; figures in {report['unit']}"
    parts = [
        f"## {report['title']}",
        f"`{name}`, rounds: {report['rounds']}{unit}.",
        _rows(_contenders(report)),
    ]
    if report["bars"]:
        parts.append(_rows(_bars(report), words=2))
    return "\n\n".join(parts)


def _contenders(report: Found) -> Iterator[Sequence[str]]:
    more = list(dict.fromkeys(name for one in report["contenders"] for name in one["more"]))
    yield ("contender", "median", "low", "high", *more)
    for one in report["contenders"]:
        figures = one["figures"]
        shown = (one["median"], min(figures), max(figures))
        further = [
            number(one["more"][name]["median"]) if name in one["more"] else "" for name in more
        ]
        yield (one["name"], *map(number, shown), *further)


def _bars(report: Found) -> Iterator[Sequence[str]]:
    yield ("ratio", "of", "median", "low", "high", "bar", "")
    for bar in report["bars"]:
        yield (
            f"{bar['subject']} / {bar['peer']}",
            bar["of"] or report["unit"],
            *(f"{ratio:.2f}" for ratio in (bar["ratio"], min(bar["ratios"]), max(bar["ratios"]))),
            *_limit(bar),
        )


def _limit(bar: dict[str, Any]) -> tuple[str, str]:
    if bar["limit"] is None:
        return "none", ""
    sign = "≥" if bar["at_least"] else "≤"
    return f"{sign} {bar['limit']:g}", "kept" if bar["met"] else "**missed**"


def _rows(rows: "Iterator[Sequence[str]] | Sequence[Sequence[str]]", words: int = 1) -> str:
    """Write a table whose first row is its head; after the columns of words come numbers."""
    head, *body = rows
    rule = ["---" if column < words else "---:" for column in range(len(head))]
    return "\n".join(f"| {' | '.join(map(_cell, row))} |" for row in (head, rule, *body))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def save(document: Document, path: Path) -> None:
    """Write the tables to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(as_markdown(document))


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0, or 2 if there are no results to show."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report.table", description=__doc__)
    parser.add_argument("results", type=Path, help="what `python -m benchmarks --json` wrote")
    parser.add_argument("file", type=Path, help="where the tables go")
    given = parser.parse_args(arguments)
    try:
        save(_document.load(given.results), given.file)
    except BenchmarkError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
