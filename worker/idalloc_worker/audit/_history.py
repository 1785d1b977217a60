"""All records of an audit, kept in a temporary SQLite database, which sorts them on the disk."""

import sqlite3
from collections.abc import Collection, Iterable, Iterator
from contextlib import closing, contextmanager
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, NamedTuple, Self

from idalloc_worker._errors import IdAllocWorkerError
from idalloc_worker.audit._records import Record, UnreadableError, records
from idalloc_worker.audit._report import EXAMPLES, Duplicate, Fall, Report, TagReport

_BATCH: Final = 20_000  # rows to a statement
_CACHE_KIB: Final = 32 * 1024  # of memory, for the tables and again for sorting

_TABLES: Final = f"""
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA cache_size = -{_CACHE_KIB};
PRAGMA temp_store = FILE;
CREATE TABLE span (
  tag INTEGER, start INTEGER, last INTEGER, file INTEGER, line INTEGER, by_line INTEGER
);
CREATE TABLE reply (
  stream INTEGER, tag INTEGER, low INTEGER, high INTEGER, file INTEGER, line INTEGER,
  sent REAL, received REAL
);
"""

_ADD_SPANS: Final = "INSERT INTO span VALUES (?, ?, ?, ?, ?, ?)"
_ADD_REPLIES: Final = "INSERT INTO reply VALUES (?, ?, ?, ?, ?, ?, ?, ?)"

_SPANS: Final = "SELECT tag, start, last, file, line, by_line FROM span ORDER BY tag, start, last"

# What was received in the moment of a request may have been received after it.
_EVENTS: Final = """
SELECT stream, sent AS moment, 0 AS received, low AS id, tag, file, line FROM reply
UNION ALL SELECT stream, received + ?, 1, high, tag, file, line FROM reply
ORDER BY stream, moment, received
"""


class AuditError(IdAllocWorkerError):
    """The records cannot be kept or sorted; its text says why."""


class _Span(NamedTuple):
    """Ids of a record; or of several lines, one in each."""

    tag: int
    start: int
    last: int
    file: int
    line: int
    by_line: int

    def line_of(self, one: int) -> int:
        return self.line + (one - self.start) * self.by_line


_NO_RUN: Final = _Span(-1, 0, 0, 0, 0, 0)


class History:
    """Takes records in and judges them. Memory is bounded; the disk holds what is taken in.

    Ids of a tag in `ordered` must rise from request to request; those of other tags for each
    worker. `slack` is by how many seconds clocks may differ that times were taken from.

    Raises AuditError.
    """

    def __init__(self, ordered: Collection[str] = (), slack: float = 0.0) -> None:
        self._ordered = frozenset(ordered)
        self._slack = slack
        self._files: list[str] = []
        self._tags: dict[str, int] = {}
        self._streams: dict[tuple[str, str], int] = {}
        self._spans: list[_Span] = []
        self._replies: list[tuple[float, ...]] = []
        self._run = _NO_RUN
        self._report = Report()
        # Without a name the database is a file that goes with the connection.
        with _explained():
            self._database = sqlite3.connect("", isolation_level=None)
            self._database.executescript(_TABLES)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def read(self, name: str, lines: Iterable[str], app_tag: str = "") -> None:
        """Take a file in; `app_tag` is for lines that name no tag."""
        self._files.append(name)
        for line, found in records(lines, app_tag):
            if isinstance(found, UnreadableError):
                self._report.unreadable += 1
                if self._report.unreadable <= EXAMPLES:
                    self._report.unreadable_examples.append(f"{name}:{line}: {found}")
            else:
                self._add(found, len(self._files) - 1, line)

    def _add(self, record: Record, file: int, line: int) -> None:
        self._report.records += 1
        tag = self._tags.setdefault(record.app_tag, len(self._tags))
        for start, last in record.ranges:
            self._add_span(tag, start, last, file, line)
        if record.sent_at is not None and record.received_at is not None:
            self._add_reply(record, (tag, file, line), (record.sent_at, record.received_at))
        if len(self._spans) >= _BATCH or len(self._replies) >= _BATCH:
            self._write()

    def _add_span(self, tag: int, start: int, last: int, file: int, line: int) -> None:
        """Keep a span; one id a line, as a table sorted by its key has them, makes one span."""
        if start != last:
            self._spans.append(_Span(tag, start, last, file, line, 0))
            return
        run = self._run
        if (tag, start, file, line) == (run.tag, run.last + 1, run.file, run.line_of(start)):
            self._run = run._replace(last=start)
        else:
            self._end_run()
            self._run = _Span(tag, start, last, file, line, 1)

    def _end_run(self) -> None:
        if self._run is not _NO_RUN:
            self._spans.append(self._run)
            self._run = _NO_RUN

    def _add_reply(
        self, record: Record, place: tuple[int, int, int], times: tuple[float, float]
    ) -> None:
        ordered = record.app_tag in self._ordered
        if not ordered and not record.worker:
            return
        name = (record.app_tag, "" if ordered else record.worker)
        stream = self._streams.setdefault(name, len(self._streams))
        low, high = min(record.ranges)[0], max(last for _, last in record.ranges)
        tag, file, line = place
        self._replies.append((stream, tag, low, high, file, line, *times))
        self._report.in_order += 1

    def _write(self) -> None:
        with _explained():
            self._database.execute("BEGIN")
            self._database.executemany(_ADD_SPANS, self._spans)
            self._database.executemany(_ADD_REPLIES, self._replies)
            self._database.execute("COMMIT")
        self._spans.clear()
        self._replies.clear()

    def judge(self) -> Report:
        """Look at all that was taken in."""
        self._end_run()
        self._write()
        tags = [TagReport(name) for name in self._tags]
        with _explained(), closing(self._database.execute(_SPANS)) as rows:
            for tag, group in groupby(rows, itemgetter(0)):
                self._sweep(tags[tag], group)
        with _explained(), closing(self._database.execute(_EVENTS, (self._slack,))) as rows:
            for _, group in groupby(rows, itemgetter(0)):
                self._find_falls(tags, group)
        self._report.tags = sorted(tags, key=lambda tag: tag.app_tag)
        return self._report

    def _sweep(self, report: TagReport, rows: Iterable[tuple[int, ...]]) -> None:
        """Walk through a tag's ids, the lowest first; what begins below the end came before."""
        ids = distinct = gaps = end = 0
        holder: tuple[int, ...] = ()  # of all so far the one that reaches furthest, to before `end`
        for row in rows:
            _, start, last, *_ = row
            ids += last - start + 1
            if start < end:
                if len(report.duplicate_examples) < EXAMPLES:
                    places = self._place(holder, start), self._place(row, start)
                    example = Duplicate(start, min(last, end - 1), places)
                    report.duplicate_examples.append(example)
            elif start > end > 0:
                gaps += 1
            if not holder:
                report.lowest = start
            if last >= end:
                distinct += last + 1 - max(start, end)
                end, holder = last + 1, row
        report.ids, report.gaps, report.duplicates = ids, gaps, ids - distinct
        report.highest, report.missing = end - 1, end - report.lowest - distinct

    def _place(self, row: tuple[int, ...], one: int) -> str:
        span = _Span(*row)
        return f"{self._files[span.file]}:{span.line_of(one)}"

    def _find_falls(self, tags: list[TagReport], events: Iterable[tuple[Any, ...]]) -> None:
        """Go through requests and receipts as they happened, with the highest id received."""
        highest, where = 0, ""
        for _, _, received, one, tag, file, line in events:
            if received and one > highest:
                highest, where = one, f"{self._files[file]}:{line}"
            elif not received and one <= highest:
                tags[tag].falls += 1
                if len(tags[tag].fall_examples) < EXAMPLES:
                    places = where, f"{self._files[file]}:{line}"
                    tags[tag].fall_examples.append(Fall(highest, one, places))


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise AuditError(f"{error}; TMPDIR says where records are kept meanwhile") from error
