"""Reserves segments in MySQL: reads a tag's row, then moves its mark up in one statement."""

import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final, TypeVar

from idalloc_schemas import Period
from idalloc_worker.engine import ReservationRequest
from idalloc_worker.mysql import (
    GIVE_BACK,
    LOCK_ROW,
    NO_SUCH_COLUMN,
    ORDERED_TAGS,
    PROBE_LOCK,
    RAISE_MARK,
    READ_MARKS,
    READ_ROW,
    RESERVE,
    MySqlHosts,
)
from idalloc_worker.store._new_rows import (
    NewRow,
    Templates,
    add_row,
    read_clock,
    read_templates,
    remove_periods,
    text_of,
)
from idalloc_worker.store._reservation import Plan, Reservation, Row, plan_for
from idalloc_worker.store._session import StoreSession
from idalloc_worker.tags import (
    InvalidRowError,
    OutcomeUnknownError,
    StoreReason,
    StoreUnavailableError,
    TagExhaustedError,
    TagNotFoundError,
)

_CONFLICTS: Final = 8
"""Times in a row that others may be faster. Where several nodes take writes, as in Galera, each of
these is a reservation of somebody else's that went well."""

Result = TypeVar("Result")

_DISTURBED: Final = (
    "max_id was set to {mark} and then was {found}: a trigger on the table changes it. Drop that "
    "trigger, or let it leave max_id alone; nothing was reserved"
)


class SegmentStore:
    """Reserves and gives back on one connection, which is opened when it is first needed.

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
        self._table = table
        self._session = StoreSession(hosts, timeout, clock)
        self._read_row_sql = READ_ROW.on(table)
        self._lock_row_sql = LOCK_ROW.on(table)
        self._probe_sql = PROBE_LOCK.on(table)
        self._reserve_sql: dict[tuple[str, ...], str] = {}
        self._give_back_sql = GIVE_BACK.on(table)
        self._ordered_tags_sql = ORDERED_TAGS.on(table)
        self._read_marks_sql = READ_MARKS.on(table)
        self._raise_sql = RAISE_MARK.on(table)

    def reserve(self, request: ReservationRequest) -> Reservation:
        """Reserve at least as many ids as are wanted: a whole number of steps.

        A row that lies below the floor is repaired if it still says `suspected`, else
        `RewindSuspectedError` asks the caller to make sure. The demand and the row decide how much
        more than `want` it is. The last segment before the end of the id space, or the tag's
        ceiling, may be smaller.

        Raises TagNotFoundError, TagExhaustedError, InvalidRowError or, unless `ordered`,
        TagIsOrderedError for the row,
        StoreUnavailableError where nothing was reserved, and OutcomeUnknownError where that is
        not known. Ends within the timeout if each read does; `abort` ends it where none does.
        """
        app_tag = request.app_tag
        with self._session.operation():
            self._session.find_lock(self._probe_sql, {"app_tag": app_tag})
            plan = _despite_conflicts(lambda: self._reserve_first(request))
            return plan.reserved(plan.first + self._reserve_rest(app_tag, plan))

    def give_back(self, app_tag: str, left: int, right: int) -> bool:
        """Lower the row from `right` to `left`; False if it says something else by now.

        The caller owns `[left, right)`, has told everybody that it will never use it, and calls
        this at most once for it, also after OutcomeUnknownError.
        """
        with self._session.operation(), self._session.transaction():
            row, session = self._lock(app_tag)
            if row.max_id != right:
                return False
            self._session.check_time()
            arguments = {"app_tag": app_tag, "left": left, "right": right, "session": session}
            if self._session.change(self._give_back_sql, arguments) != 1:
                return False
            self._session.commit(right - left)
            return True

    def read_marks(self, app_tags: Sequence[str]) -> dict[str, int]:
        """Read how far tags are reserved. Raises StoreUnavailableError."""
        with self._session.operation():
            rows = self._session.read(self._read_marks_sql, {"app_tags": tuple(app_tags)})
        # One that holds no number is its refill's to complain of, and no reason to see none.
        marks = {text_of(app_tag): mark for app_tag, mark in rows if isinstance(mark, int)}
        return {app_tag: marks[app_tag] for app_tag in app_tags if app_tag in marks}

    def existing(self, app_tags: Sequence[str]) -> frozenset[str]:
        """Tell which of these tags have a row, whatever it holds. Raises StoreUnavailableError."""
        with self._session.operation():
            rows = self._session.read(self._read_marks_sql, {"app_tags": tuple(app_tags)})
        return frozenset(text_of(app_tag) for app_tag, _ in rows).intersection(app_tags)

    def raise_mark(self, app_tag: str, seen: int, floor: int) -> bool:
        """Raise a row from `seen` to `floor`; False if it says something else by now.

        Raises StoreUnavailableError.
        """
        with self._session.operation():
            arguments = {"app_tag": app_tag, "seen": seen, "floor": floor}

            def attempt() -> bool:
                # Finds out whether the connection is still good.
                _only_row(app_tag, self._read(self._read_row_sql, app_tag))
                return self._session.change(self._raise_sql, arguments) == 1

            return _despite_conflicts(attempt)

    def ordered_tags(self) -> dict[str, int]:
        """Read which tags are ordered and how far they are reserved. Raises StoreUnavailableError.

        A row whose mark is none counts as one that nobody has reserved from.
        """
        with self._session.operation():
            rows = self._session.read(self._ordered_tags_sql, harmless=NO_SUCH_COLUMN)
        return {text_of(app_tag): int(mark or 0) for app_tag, mark in rows}

    def templates(self) -> Templates:
        """Read which rows others are made from. Raises StoreUnavailableError."""
        with self._session.operation():
            return read_templates(self._session, self._table)

    def read_clock(self) -> datetime:
        """Tell what time it is by the database, in UTC. Raises StoreUnavailableError."""
        with self._session.operation():
            return read_clock(self._session)

    def add_row(self, row: NewRow) -> bool:
        """Make a row from another one; False if there is one by now.

        Raises TagNotFoundError, PeriodNotBegunError and StoreUnavailableError.
        """
        with self._session.operation():
            return _despite_conflicts(lambda: add_row(self._session, self._table, row))

    def remove_periods(self, app_tag: str, before: Period) -> list[str]:
        """Remove the rows of a tag's periods before this one; tell which they were.

        Raises StoreUnavailableError.
        """
        with self._session.operation():
            return remove_periods(self._session, self._table, app_tag, before)

    def arm(self) -> None:
        """Make `abort` end the next reservation even if it comes before that has begun."""
        self._session.lifeline.arm()

    def abort(self) -> None:
        """End the reservation that runs, if one does. Safe from any thread; never blocks."""
        self._session.lifeline.abort()

    def close(self) -> None:
        """Log out. A closed store reserves nothing more. Idempotent."""
        self._session.close()

    def _reserve_first(self, request: ReservationRequest) -> Plan:
        """Reserve the first part of what the row lets one plan, if anything."""
        app_tag = request.app_tag
        plan = plan_for(request, _only_row(app_tag, self._read(self._read_row_sql, app_tag)))
        if plan.count and not self._reserved_quickly(app_tag, plan):
            return self._reserve_under_lock(request)
        return plan

    def _reserved_quickly(self, app_tag: str, plan: Plan) -> bool:
        """Reserve the first part in one statement; False if the row is not as it was read.

        Others may have been faster, or a proxy had the row read from a replica that lags. A repair
        and the first reservation on a connection want more care than that.
        """
        if not self._session.proven or plan.rewound_from is not None:
            return False
        self._session.check_time()
        return self._move(app_tag, plan, plan.row.max_id, plan.left + plan.first, plan.first)

    def _reserve_under_lock(self, request: ReservationRequest) -> Plan:
        """Reserve the first part while nobody else can touch the row, and see that it stays."""
        session = self._session
        with session.transaction():
            row, _ = self._lock(request.app_tag)
            plan = plan_for(request, row)
            if plan.count:
                session.check_time()
                mark = plan.left + plan.first
                arguments = {"app_tag": request.app_tag, "seen": plan.row.max_id, "mark": mark}
                session.change(RESERVE.on(self._table), arguments)
                found, _ = self._lock(request.app_tag)
                if found.max_id != mark:
                    problem = _DISTURBED.format(mark=mark, found=found.max_id)
                    raise InvalidRowError(request.app_tag, problem)
                session.commit(plan.first)
                session.proven = True
        return plan

    def _reserve_rest(self, app_tag: str, plan: Plan) -> int:
        """Reserve what the plan has beyond its first part, which is safe; tell how much it is."""
        rest, mark = plan.count - plan.first, plan.left + plan.first
        if not rest:
            return 0
        try:
            self._session.check_time()
            return rest if self._move(app_tag, plan, mark, mark + rest, plan.count) else 0
        except OutcomeUnknownError:
            raise
        except (StoreUnavailableError, TagExhaustedError):
            return 0

    def _move(self, app_tag: str, plan: Plan, seen: int, mark: int, ids: int) -> bool:
        """Move the mark if nothing that the plan depends on has changed."""
        arguments = {"app_tag": app_tag, "seen": seen, "mark": mark, **plan.authority}
        columns = tuple(plan.authority)
        if columns not in self._reserve_sql:
            self._reserve_sql[columns] = RESERVE.on(self._table, columns)
        return self._session.change(self._reserve_sql[columns], arguments, ids) == 1

    def _read(self, sql: str, app_tag: str) -> list[dict[str, object]]:
        return self._session.read_named(sql, {"app_tag": app_tag})

    def _lock(self, app_tag: str) -> tuple[Row, object]:
        """Read the row and hold it, in a transaction; also tells the session that holds it."""
        rows = self._session.lock(self._lock_row_sql, {"app_tag": app_tag})
        return _only_row(app_tag, rows), rows[0]["idalloc_session"]


def _despite_conflicts(attempt: Callable[[], Result]) -> Result:
    """Do again at once what the server undid in favour of another session.

    Not for what is to be executed once: a node that loses its cluster at that moment may say so of
    what the others have.
    """
    for _ in range(_CONFLICTS - 1):
        try:
            return attempt()
        except StoreUnavailableError as error:
            if error.reason is not StoreReason.DEADLOCK:
                raise
    return attempt()


def _only_row(app_tag: str, rows: Sequence[dict[str, object]]) -> Row:
    if not rows:
        raise TagNotFoundError(app_tag)
    if len(rows) > 1:
        problem = "there is more than one; app_tag must be the primary key"
        raise InvalidRowError(app_tag, problem)
    return Row.checked(app_tag, rows[0])
