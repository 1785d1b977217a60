"""Reserves segments in MySQL: reads a tag's row, then moves its mark up in one statement."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pymysql.connections import Connection

from idalloc_schemas import MAX_ID
from idalloc_worker._id_space import end_of_space
from idalloc_worker._lifeline import Lifeline
from idalloc_worker._mysql_errors import (
    NO_SUCH_COLUMN,
    OVERFLOW,
    errno_of,
    is_definite,
    unavailable,
)
from idalloc_worker._mysql_hosts import MySqlHosts, OpenHost
from idalloc_worker._segment import Segment
from idalloc_worker._sql import (
    GIVE_BACK,
    ORDERED_TAGS,
    RAISE_MARK,
    READ_MARKS,
    READ_ROW,
    REPAIR_AND_RESERVE,
    RESERVE,
    named_row,
)
from idalloc_worker._step_size import NO_DEMAND, Demand, reservation_size
from idalloc_worker._store_errors import (
    InvalidRowError,
    OutcomeUnknownError,
    RewindSuspectedError,
    StoreReason,
    StoreUnavailableError,
    TagExhaustedError,
    TagIsOrderedError,
    TagNotFoundError,
)
from idalloc_worker._tag_settings import TagSettings

# After these the connection is as good as before. After any other failure it is given up: on a lost
# one nothing can be trusted any more, and a primary that became read-only, a table or a right that
# is missing are better met anew, perhaps on another server behind the same name.
_HARMLESS: Final = frozenset({StoreReason.LOCK_WAIT_TIMEOUT, StoreReason.DEADLOCK})

_TRIES: Final = 3
"""How often a reservation is sized anew because others have come nearer to the end meanwhile."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """A segment that is committed, and the settings that the row had.

    The segment is empty, and the row as it was, where nobody who waits may draw from the tag.

    `rewound_from` is the row's mark if it lay below the floor, because the database lost writes (a
    restore, a failover). This reservation has repaired it.
    """

    segment: Segment
    settings: TagSettings
    rewound_from: int | None = None

    @property
    def step(self) -> int:
        """The row's step."""
        return self.settings.step


@dataclass(frozen=True, slots=True)
class _Row:
    max_id: int
    settings: TagSettings

    @property
    def end(self) -> int:
        """Where the tag's ids end: no mark goes above it."""
        return end_of_space(self.settings.ceiling)


class SegmentStore:
    """One connection to the database, opened when it is first needed.

    Owned by one thread; only `abort` may be called from another.
    """

    def __init__(
        self,
        hosts: MySqlHosts,
        table: str,
        timeout: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`timeout` is in seconds, for a whole reservation; the stores of a process share `hosts`.

        Raises ValueError for a bad `table`.
        """
        self._hosts = hosts
        self._timeout = timeout
        self._clock = clock
        self._read_row_sql = READ_ROW.on(table)
        self._reserve_sql = RESERVE.on(table)
        self._repair_sql = REPAIR_AND_RESERVE.on(table)
        self._give_back_sql = GIVE_BACK.on(table)
        self._ordered_tags_sql = ORDERED_TAGS.on(table)
        self._read_marks_sql = READ_MARKS.on(table)
        self._raise_sql = RAISE_MARK.on(table)
        self._lifeline = Lifeline()
        self._host: OpenHost | None = None
        self._began = 0.0
        self._closed = False

    def reserve(  # noqa: PLR0913  # all that one refill is about
        self,
        app_tag: str,
        want: int,
        floor: int = 0,
        *,
        demand: Demand = NO_DEMAND,
        users: frozenset[str | None] | None = None,
        suspected: int | None = None,
        ordered: bool = False,
    ) -> Reservation:
        """Reserve at least `want` ids, none below `floor`: a whole number of steps.

        `floor` is the highest end of any segment of the tag that the caller knows of. A row that
        lies below it is repaired if it still says `suspected`, else `RewindSuspectedError` asks
        the caller to make sure. `demand` and the row decide how much more than `want` it is. The
        last segment before the end of the id space, or the tag's ceiling, may be smaller. `users`
        are those who wait for the ids: nothing is reserved unless one of them may draw from the
        tag. `ordered`: the caller owns the tag's partition.

        Raises TagNotFoundError, TagExhaustedError, InvalidRowError or, unless `ordered`,
        TagIsOrderedError for the row,
        StoreUnavailableError where nothing was reserved, and OutcomeUnknownError where that is
        not known. Ends within the timeout if each read does; `abort` ends it where none does.
        """
        self._began = self._clock()
        deadline = self._began + self._timeout
        with self._lifeline.operation():
            for _ in range(_TRIES):
                row = self._read_row(app_tag, deadline)
                if row.settings.ordered and not ordered:
                    raise TagIsOrderedError(app_tag)
                if users is not None and not any(map(row.settings.allows, users)):
                    return Reservation(Segment(row.max_id, row.max_id), row.settings)
                rewound_from = row.max_id if row.max_id < floor else None
                if rewound_from is not None and rewound_from != suspected:
                    raise RewindSuspectedError(app_tag, rewound_from, floor)
                count = _count(app_tag, row, want, floor, demand)
                self._check_time(deadline)
                segment = self._move_mark(app_tag, row, count, floor)
                if segment is not None:
                    return Reservation(segment, row.settings, rewound_from)
        raise StoreUnavailableError(
            StoreReason.OTHER, f"others change the row of {app_tag!r} all the time"
        )

    def give_back(self, app_tag: str, left: int, right: int) -> bool:
        """Lower the row from `right` to `left`; False if it says something else by now.

        The caller owns `[left, right)`, has told everybody that it will never use it, and calls
        this at most once for it, also after OutcomeUnknownError.
        """
        self._began = self._clock()
        deadline = self._began + self._timeout
        with self._lifeline.operation():
            # The read also finds out whether the connection is still good.
            if self._read_row(app_tag, deadline).max_id != right:
                return False
            self._check_time(deadline)
            arguments = {"app_tag": app_tag, "left": left, "right": right}
            rows, _ = self._change(self._give_back_sql, arguments, right - left)
            return rows == 1

    def read_marks(self, app_tags: Sequence[str]) -> dict[str, int]:
        """Read how far tags are reserved. Raises StoreUnavailableError."""
        rows = self._rows(self._read_marks_sql, {"app_tags": tuple(app_tags)})
        marks = {_text(app_tag): int(mark) for app_tag, mark in rows}
        return {app_tag: marks[app_tag] for app_tag in app_tags if app_tag in marks}

    def raise_mark(self, app_tag: str, seen: int, floor: int) -> bool:
        """Raise a row from `seen` to `floor`; False if it says something else by now.

        Raises StoreUnavailableError.
        """
        self._began = self._clock()
        deadline = self._began + self._timeout
        with self._lifeline.operation():
            self._read_row(app_tag, deadline)  # finds out whether the connection is still good
            arguments = {"app_tag": app_tag, "seen": seen, "floor": floor}
            rows, _ = self._change(self._raise_sql, arguments, 0)
            return rows == 1

    def ordered_tags(self) -> dict[str, int]:
        """Read which tags are ordered and how far they are reserved. Raises StoreUnavailableError.

        A row whose mark is none counts as one that nobody has reserved from.
        """
        rows = self._rows(self._ordered_tags_sql, harmless=NO_SUCH_COLUMN)
        return {_text(app_tag): int(mark or 0) for app_tag, mark in rows}

    def _rows(
        self, sql: str, arguments: dict[str, object] | None = None, harmless: int | None = None
    ) -> Sequence[tuple[Any, ...]]:
        """Read rows; none where the server answers with the error that is harmless here."""
        self._began = self._clock()
        with self._lifeline.operation():
            connection = self._connected(self._began + self._timeout)
            try:
                with connection.cursor() as cursor:
                    cursor.execute(sql, arguments)
                    return cursor.fetchall()
            except Exception as error:
                if harmless is not None and errno_of(error) == harmless:
                    return ()
                raise self._gave_up(error) from error

    def arm(self) -> None:
        """Make `abort` end the next reservation even if it comes before that has begun."""
        self._lifeline.arm()

    def abort(self) -> None:
        """End the reservation that runs, if one does. Safe from any thread; never blocks."""
        self._lifeline.abort()

    def close(self) -> None:
        """Log out. A closed store reserves nothing more. Idempotent."""
        self._closed = True
        self._discard()

    def _read_row(self, app_tag: str, deadline: float) -> _Row:
        idle = self._host is not None
        try:
            found = self._query_row(app_tag, deadline)
        except StoreUnavailableError as error:
            # The server closes connections that are idle for long, and all of them when it
            # restarts. A read does no harm twice; the statement that reserves is never repeated.
            if not (idle and error.reason is StoreReason.LOST_CONNECTION):
                raise
            found = self._query_row(app_tag, deadline)
        if found is None:
            raise TagNotFoundError(app_tag)
        return _checked(app_tag, found)

    def _query_row(self, app_tag: str, deadline: float) -> dict[str, object] | None:
        connection = self._connected(deadline)
        try:
            with connection.cursor() as cursor:
                cursor.execute(self._read_row_sql, {"app_tag": app_tag})
                row = cursor.fetchone()
                return None if row is None else named_row(cursor.description, row)
        except Exception as error:
            raise self._gave_up(error) from error

    def _move_mark(self, app_tag: str, row: _Row, count: int, floor: int) -> Segment | None:
        """Reserve; None if the row is not as it was read: gone, moved, or too near to the end."""
        arguments = {
            "app_tag": app_tag,
            "count": count,
            "floor": floor,
            "last": row.end - count,
            "seen": row.max_id,
        }
        # A repair needs no look at the end: it moves the row from where it was seen, or not at all.
        sql = self._reserve_sql if row.max_id >= floor else self._repair_sql
        rows, mark = self._change(sql, arguments, count)
        if rows == 0:
            return None
        return _reserved(app_tag, rows, mark - count, mark, floor)

    def _change(self, sql: str, arguments: dict[str, Any], ids: int) -> tuple[int, int]:
        """Run a statement once; tells the rows it changed, and LAST_INSERT_ID."""
        if self._host is None:
            raise AssertionError("a row is changed on the connection that read it")
        try:
            with self._host.connection.cursor() as cursor:
                return cursor.execute(sql, arguments), cursor.lastrowid
        except Exception as error:  # also what PyMySQL raises for an answer that it cannot read
            if errno_of(error) in OVERFLOW:  # the column is narrower than the id space
                raise TagExhaustedError(arguments["app_tag"]) from error
            raise self._failed_change(error, ids) from error

    def _failed_change(self, error: Exception, count: int) -> StoreUnavailableError:
        failure = self._gave_up(error)
        if is_definite(error):
            return failure
        return OutcomeUnknownError(
            failure.reason,
            f"{failure}; {count} ids may be lost",
            possibly_reserved=count,
            errno=failure.errno,
        )

    def _gave_up(self, error: Exception) -> StoreUnavailableError:
        address = self._hosts.address if self._host is None else self._host.address
        failure = unavailable(address, error, aborted=self._lifeline.aborted)
        if self._host is not None and failure.reason is StoreReason.READ_ONLY:
            self._hosts.refused(self._host, self._began, failure)
        if failure.reason not in _HARMLESS:
            self._discard()
        return failure

    def _check_time(self, deadline: float) -> None:
        """Do not begin a reservation whose answer nobody waits for: it would only lose ids."""
        if self._clock() < deadline and not self._lifeline.aborted:
            return
        error = TimeoutError("the time was up before anything was reserved")
        raise self._gave_up(error) from error

    def _connected(self, deadline: float) -> Connection:
        if self._closed:
            raise StoreUnavailableError(StoreReason.OTHER, "the store is closed")
        if self._host is not None and not self._hosts.in_use(self._host):
            self._discard()  # nothing of a host that was left is used again
        if self._host is None:
            self._host = self._hosts.connect(self._lifeline, deadline, self._timeout)
        return self._host.connection

    def _discard(self) -> None:
        self._lifeline.detach()
        host, self._host = self._host, None
        if host is not None:
            host.close()


def _text(value: object) -> str:
    return value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)


def _checked(app_tag: str, row: Mapping[str, object]) -> _Row:
    max_id = row.get("max_id")
    if not isinstance(max_id, int) or max_id < 0:
        raise InvalidRowError(app_tag, f"max_id is {max_id}, which must be 0 or more")
    return _Row(max_id, TagSettings.from_row(app_tag, row))


def _count(app_tag: str, row: _Row, want: int, floor: int, demand: Demand) -> int:
    space = row.end - max(row.max_id, floor)
    if space < 1:
        raise TagExhaustedError(app_tag, row.settings)
    return reservation_size(row.settings, demand, want, space)


def _reserved(app_tag: str, rows: int, left: int, right: int, floor: int) -> Segment:
    """Check what the server says it reserved: the table may not be what it should be."""
    if rows > 1:
        raise InvalidRowError(app_tag, "there is more than one; app_tag must be the primary key")
    if right > MAX_ID:  # an unsigned column holds more
        raise TagExhaustedError(app_tag)
    if left < floor:
        raise InvalidRowError(app_tag, f"[{left}, {right}) was reserved, which is below {floor}")
    return Segment(left, right)
