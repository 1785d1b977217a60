"""Writes the table of `idalloc top` as lines that fit a terminal."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from idalloc_worker.cli._text_table import duration, lined_up
from idalloc_worker.survey import Table, TagRow, WorkerRow

_HINT: Final = "q quits"
_LEAST_TAG_ROWS: Final = 3

_TAG_HEADS: Final = (
    *("ids/s", "left", "cover", "waiters", "workers", "refills/s"),
    *("state", "last error"),
)
_WORKER_HEADS: Final = (
    *("requests/s", "granted/s", "errors/s", "refills/s"),
    *("database", "answered", "last error"),
)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of plain text, and whether it should catch the eye."""

    text: str
    alarm: bool = False


def write(table: Table) -> list[Line]:
    """Write all there is, as for a file."""
    tags = _cut(_tags(table), None, "tags", table.tags_unlisted)
    return _joined([_totals(table)], tags, _workers(table))


def picture(table: Table, columns: int, rows: int, problem: str = "") -> list[Line]:
    """Write what fits into so many columns and rows, and fill the last one with a hint."""
    head = [*([Line(problem, alarm=True)] if problem else []), _totals(table)]
    room = rows - len(head) - 3  # two empty lines and the hint
    tags, workers = _tags(table), _workers(table)
    for_tags = max(room - len(workers), min(_LEAST_TAG_ROWS, room // 2))
    tags = _cut(tags, for_tags, "tags", table.tags_unlisted)
    workers = _cut(workers, room - len(tags), "workers", 0)
    lines = _joined(head, tags, workers)[: max(rows - 1, 0)]
    lines += [Line("")] * (rows - 1 - len(lines)) + [Line(_HINT)]
    return [Line(line.text[:columns], line.alarm) for line in lines][:rows]


def _joined(head: list[Line], tags: list[Line], workers: list[Line]) -> list[Line]:
    lines = [*head, Line(""), *tags, Line(""), *workers]
    return [Line(_printable(line.text), line.alarm) for line in lines]


def _tags(table: Table) -> list[Line]:
    body = [(_tag_cells(tag), not tag.healthy) for tag in table.tags]
    return _block(("tag", *_TAG_HEADS), body)


def _workers(table: Table) -> list[Line]:
    body = [(_worker_cells(one), one.gone or one.database is False) for one in table.workers]
    return _block(("worker", *_WORKER_HEADS), body)


def _totals(table: Table) -> Line:
    present = table.present
    words = [
        _count(len(present), "worker"),
        _count(len(table.tags) + table.tags_unlisted, "tag"),
        f"{_rate(sum(tag.rate for tag in table.tags))} ids/s",
        f"{_rate(sum(one.requests for one in present))} requests/s",
        f"{_rate(sum(one.errors for one in present))} errors/s",
        f"{_rate(sum(one.refills for one in present))} refills/s",
        f"{sum(tag.left for tag in table.tags):,} ids left",
        f"{sum(tag.waiters for tag in table.tags):,} waiting",
    ]
    if any(one.protected is False for one in present):
        words.append("NOT PROTECTED, see idalloc health --fleet")
    return Line("  ".join(("idalloc", *words)), alarm=not present)


def _tag_cells(tag: TagRow) -> tuple[str, ...]:
    return (
        tag.app_tag,
        _rate(tag.rate),
        f"{tag.left:,}",
        duration(tag.cover),
        f"{tag.waiters:,}",
        str(tag.workers),
        _rate(tag.refills),
        tag.state,
        tag.last_error or "",
    )


def _worker_cells(one: WorkerRow) -> tuple[str, ...]:
    ago = f"{duration(one.age)} ago" if one.age else "now"
    if one.gone:
        return (one.name, "-", "-", "-", "-", "-", ago, "gone: it does not answer any more")
    rates = (one.requests, one.granted, one.errors, one.refills)
    return (
        one.name,
        *("-" if one.age else _rate(rate) for rate in rates),
        {True: "yes", False: "NO", None: "-"}[one.database],
        ago,
        one.last_error or "",
    )


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _block(heads: Sequence[str], body: Iterable[tuple[Sequence[str], bool]]) -> list[Line]:
    """Line up cells in columns: the first to the left, numbers to the right, the rest as is."""
    rows = [(tuple(head.upper() for head in heads), False), *body]
    words = heads.index("state") if "state" in heads else len(heads) - 1
    texts = lined_up([cells for cells, _ in rows], range(1, words))
    return [Line(text, alarm) for text, (_, alarm) in zip(texts, rows, strict=True)]


def _cut(block: list[Line], room: int | None, noun: str, unlisted: int) -> list[Line]:
    """Keep the first lines, the heads among them, and say how many rows are not shown."""
    if room is None or len(block) + (unlisted > 0) <= room:
        hidden = unlisted
    else:
        shown = max(room - 1, 1)
        hidden = unlisted + len(block) - shown
        block = block[:shown]
    return [*block, Line(f"and {hidden:,} more {noun}")] if hidden else block


def _printable(text: str) -> str:
    """Keep what a host or a database said from moving the cursor."""
    return "".join(character if character.isprintable() else " " for character in text)
