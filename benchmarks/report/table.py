"""Writes results as tables: `python -m benchmarks.report.table RESULTS.json FILE.md`."""

import argparse
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness.launch import Found
from benchmarks.harness.quiet import Quiet
from benchmarks.harness.runner import BenchmarkError, Spread
from benchmarks.harness.turns import cpu_part
from benchmarks.report import document as _document
from benchmarks.report.document import Document
from benchmarks.report.texts import number, ratio

_INTRODUCTION = (
    "What one run gave; written by `make bench-docs`, not by hand. What is compared with what, and "
    "how to read it: [Performance]({}). Figures are medians of the rounds, with the lowest and the "
    "highest round beside them. CPU time comes first: it is steadier than time. *Middle half* is "
    "how far apart the middle half of the rounds lies, as a part of the median."
)
_QUICK = "**This was a quick run: few and short rounds, so the figures are rough.**"
_PAGE = Path(__file__).resolve().parents[2] / "docs/performance.md"
_SERVERS = ("rabbitmq", "erlang", "database", "durability", "commit", "cpu", "cpus", "load", "date")
"""What makes figures of two runs differ, most of all: that comes first."""


def as_markdown(document: Document, page: str = _PAGE.name) -> str:
    """Write what they ran on, and all races."""
    parts = ["# Results", _INTRODUCTION.format(page)]
    if document.quick:
        parts.append(_QUICK)
    parts += [f"**{' '.join(warning.split())}**" for warning in document.warnings]
    described = document.environment
    first = {key: described[key] for key in _SERVERS if key in described}
    parts.append("## Machine and versions")
    parts.append(rows([("what", "found"), *{**first, **described}.items()], words=2))
    servers = _servers(described)
    parts += [_race(name, report, servers) for name, report in document.races.items()]
    missing = {**document.not_run, **document.left_out}
    if missing:
        parts.append("## Not in this run")
        parts.append("\n".join(f"- `{name}`: {why}" for name, why in missing.items()))
    return "\n\n".join(parts) + "\n"


def _servers(described: Mapping[str, str]) -> str:
    """Name the servers in a few words; nothing where they are not known."""
    if "rabbitmq" not in described:
        return ""
    broker = f"RabbitMQ {described['rabbitmq']}, Erlang {described['erlang']}"
    return ", ".join(filter(None, [broker, described["database"], described.get("durability")]))


def _race(name: str, report: Found, servers: str) -> str:
    unit = report["unit"] and f"; figures in {report['unit']}"
    parts = [
        f"## {report['title']}",
        f"`{name}`, rounds: {report['rounds']}{unit}. {servers}".strip(),
    ]
    parts += report.get("notes", [])
    quiet = Quiet.read(report)
    if quiet is not None:
        parts.append(f"**{quiet.warning}**" if quiet.warning else f"Quiet: {quiet}.")
    parts.append(rows(_contenders(report)))
    if report["bars"]:
        parts.append(rows(_bars(report), words=2))
    return "\n\n".join(parts)


def _contenders(report: Found) -> Iterator[Sequence[str]]:
    more = list(dict.fromkeys(name for one in report["contenders"] for name in one["more"]))
    costs = [name for name in more if cpu_part(name, report["cpu_per"]) is not None]
    others = [name for name in more if name not in costs]
    yield (
        "contender",
        *costs,
        f"median{report['unit'] and ' ' + report['unit']}",
        "low",
        "high",
        *others,
    )
    for one in report["contenders"]:
        figures = one["figures"]
        shown = (one["median"], min(figures), max(figures))
        yield (one["name"], *_more(one, costs), *map(number, shown), *_more(one, others))


def _more(contender: dict[str, Any], names: Sequence[str]) -> Iterator[str]:
    for name in names:
        found = contender["more"].get(name)
        yield "" if found is None else number(found["median"])


def _bars(report: Found) -> Iterator[Sequence[str]]:
    yield ("ratio", "of", "median", "low", "high", "middle half", "bar", "")
    for bar in report["bars"]:
        ratios = Spread(tuple(bar["ratios"]))
        yield (
            f"{bar['subject']} / {bar['peer']}",
            bar["of"] or report["unit"],
            *map(ratio, (bar["ratio"], ratios.low, ratios.high)),
            f"{ratios.width:.0%}",
            *_limit(bar),
        )


def _limit(bar: dict[str, Any]) -> tuple[str, str]:
    if bar["limit"] is None:
        return "none", ""
    sign = "≥" if bar["at_least"] else "≤"
    note = bar.get("note", "")
    limit = f"{sign} {bar['limit']:g}{note and ' ' + note}"
    return limit, "kept" if bar["met"] else "**missed**"


def rows(rows: "Iterator[Sequence[str]] | Sequence[Sequence[str]]", words: int = 1) -> str:
    """Write a table whose first row is its head; after the columns of words come numbers."""
    head, *body = rows
    rule = ["---" if column < words else "---:" for column in range(len(head))]
    return "\n".join(f"| {' | '.join(map(_cell, row))} |" for row in (head, rule, *body))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def save(document: Document, path: Path) -> None:
    """Write the tables to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = path.parent.resolve()
    inside = folder.is_relative_to(_PAGE.parent)
    path.write_text(as_markdown(document, os.path.relpath(_PAGE, folder) if inside else _PAGE.name))


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
