"""Reads records of replies (JSON lines) and columns of ids (CSV), a line at a time."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, Final, NamedTuple

from idalloc_schemas import MAX_ID
from idalloc_worker._errors import IdAllocWorkerError

_TAG_NAMES: Final = ("app_tag", "tag")
_NONE: Final = (None, "")
_WITHOUT_HEADING: Final = (("id",), ("app_tag", "id"))
_NO_HEADING: Final = "neither ids, nor tags with ids, nor a heading that names a column id"


class UnreadableError(IdAllocWorkerError):
    """A line is neither a record nor an id; its text says why."""


class Record(NamedTuple):
    """What one reply, or one row of a table, says. Ranges are inclusive: SQLite has no 2^63."""

    app_tag: str
    ranges: Sequence[tuple[int, int]]
    worker: str = ""
    sent_at: float | None = None
    received_at: float | None = None


Result = tuple[int, Record | UnreadableError]
"""The number of a line, from 1, and what is in it."""


def records(lines: Iterable[str], app_tag: str = "") -> Iterator[Result]:
    """Read a file whose first line tells its form; `app_tag` is for lines that name no tag.

    Error replies and empty lines are passed over, and so is a line of JSON at the end that a kill
    has cut off.
    """
    rest = iter(lines)
    first = next(rest, "")
    every = chain([first], rest)
    return _json(every, app_tag) if first.lstrip().startswith("{") else _csv(every, first, app_tag)


def _json(lines: Iterable[str], app_tag: str) -> Iterator[Result]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            fields = json.loads(line)
        except (ValueError, RecursionError) as error:
            if line.endswith("\n"):
                yield number, UnreadableError(f"no JSON: {error}")
            continue
        if not isinstance(fields, dict):
            yield number, UnreadableError("no JSON object")
        elif not fields.get("resp_code"):
            yield number, _read(_record, fields, app_tag)


def _csv(lines: Iterable[str], first: str, app_tag: str) -> Iterator[Result]:
    """Read rows under a heading that names columns as JSON names fields; or ids without one."""
    reader = csv.reader(lines, delimiter="\t" if "\t" in first else ",")
    names: Sequence[str] = ()
    for row in _rows(reader):
        number = reader.line_num
        if isinstance(row, csv.Error):
            yield number, UnreadableError(str(row))
        elif names == ("id",) and len(row) == 1:  # by far the most frequent
            yield number, _read(_one, row[0], app_tag)
        elif names and len(row) == len(names):
            yield number, _read(_record, dict(zip(names, row, strict=True)), app_tag)
        elif names:
            yield number, UnreadableError(f"{len(row)} columns instead of {len(names)}")
        else:
            names = _columns(row)
            if "id" not in names:
                yield number, UnreadableError(_NO_HEADING)
                return
            if row[-1].isdecimal():
                yield number, _read(_record, dict(zip(names, row, strict=True)), app_tag)


def _rows(reader: Iterator[list[str]]) -> Iterator[list[str] | csv.Error]:
    """Give the rows that are not empty, and go on after one that is none."""
    while True:
        try:
            if row := next(reader):
                yield row
        except StopIteration:
            return
        except csv.Error as error:
            yield error


def _columns(row: Sequence[str]) -> Sequence[str]:
    if row[-1].isdecimal():
        return _WITHOUT_HEADING[len(row) - 1] if len(row) <= len(_WITHOUT_HEADING) else ()
    return tuple(name.strip().lower() for name in row)


def _read(
    parse: Callable[[Any, str], Record], value: object, app_tag: str
) -> Record | UnreadableError:
    try:
        return parse(value, app_tag)
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        missing = isinstance(error, KeyError)
        return UnreadableError(f"names no {error.args[0]}" if missing else str(error))


def _one(text: str, app_tag: str) -> Record:
    number = int(text)
    return Record(app_tag, (_checked(number, number),))


def _record(fields: dict[str, Any], app_tag: str) -> Record:
    tag = next((fields[name] for name in _TAG_NAMES if name in fields), app_tag)
    if not isinstance(tag, str) or not tag.isprintable():
        raise TypeError("app_tag is no printable text")
    period = fields.get("period")
    if period not in _NONE and not tag.endswith(f"@{period}"):
        tag = f"{tag}@{period}"  # the row in which the number is unique
    sent_at, received_at = _time(fields, "sent_at"), _time(fields, "received_at")
    if sent_at is None or received_at is None:
        sent_at = received_at = None
    elif not sent_at <= received_at:
        raise ValueError("was received before it was sent")
    return Record(tag, _ranges(fields), str(fields.get("worker") or ""), sent_at, received_at)


def _ranges(fields: dict[str, Any]) -> Sequence[tuple[int, int]]:
    if "ranges" in fields:
        pairs = [(_whole(left), _whole(right) - 1) for left, right in fields["ranges"]]
    else:
        start = _whole(fields["id"])
        count = fields.get("count")
        pairs = [(start, start + (1 if count in _NONE else _whole(count)) - 1)]
    if not pairs:
        raise ValueError("has no ids")
    return [_checked(start, last) for start, last in pairs]


def _whole(value: object) -> int:
    if isinstance(value, str):
        return int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{value!r} is no whole number")
    return value


def _checked(start: int, last: int) -> tuple[int, int]:
    if not 1 <= start <= last <= MAX_ID:
        raise ValueError(f"ids {start} to {last} are no ids: they lie between 1 and {MAX_ID}")
    return start, last


def _time(fields: dict[str, Any], name: str) -> float | None:
    value = fields.get(name)
    return None if value in _NONE else float(value)
