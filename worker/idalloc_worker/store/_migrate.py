"""Adds the columns for settings of single tags to a table that has only the four first ones."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from idalloc_worker.mysql import ADD_COLUMNS, MySqlAddress
from idalloc_worker.store._admin_session import AdminSession
from idalloc_worker.store._table_faults import TableError, check_columns, missing_columns
from idalloc_worker.tags import StoreReason, StoreUnavailableError

_ALGORITHMS: Final = (", ALGORITHM=INSTANT", ", ALGORITHM=INPLACE, LOCK=NONE", "")
"""From the one that touches no row to the one that copies the table, for servers and engines that
know no better; a table of tags is small."""

_UNSUPPORTED: Final = frozenset({1221, 1235, 1845, 1846, 4092})
"""The server cannot do it in this way; 4092: the table has had too many instant changes."""

_DUPLICATE_COLUMN: Final = 1060
_NO_BASE_TABLE: Final = 1347
_VIEW: Final = (
    "{table} is a view, to which nothing can be added; add {columns} to its table, and make the "
    "view anew with them"
)

_TRIES: Final = 60
_PAUSE: Final = 1.0
"""Seconds between tries. A change waits one second at most for the table (see `SESSION`), since all
who come after it wait behind it; in the pause they are let through."""


@dataclass(frozen=True, slots=True)
class Migration:
    """What was added; nothing if the table had it all."""

    added: tuple[str, ...]


def migrate(
    address: MySqlAddress, table: str, pause: Callable[[float], None] = time.sleep
) -> Migration:
    """Add what is missing, under running workers; repeatable.

    Raises StoreUnavailableError, also where a session kept the table locked for two minutes, and
    TableError for what is no table of tags.
    """
    with AdminSession(address) as session:
        check_columns(session, table)
        before = missing_columns(session, table)
        missing, tries = before, 0
        while missing:
            tries += 1
            columns = ", ".join(missing)
            try:
                _add(session, table, missing)
            except StoreUnavailableError as error:
                if error.errno == _NO_BASE_TABLE:
                    raise TableError(_VIEW.format(table=table, columns=columns)) from error
                if error.errno != _DUPLICATE_COLUMN and (
                    error.reason is not StoreReason.LOCK_WAIT_TIMEOUT or tries == _TRIES
                ):
                    raise
                pause(_PAUSE)
            missing = missing_columns(session, table)  # somebody else may have added some
        return Migration(tuple(before))


def _add(session: AdminSession, table: str, columns: list[str]) -> None:
    """Add columns in the lightest way that the server can."""
    for algorithm in _ALGORITHMS:
        try:
            session.change(ADD_COLUMNS.on(table, columns=columns) + algorithm)
        except StoreUnavailableError as error:
            if error.errno not in _UNSUPPORTED or algorithm == _ALGORITHMS[-1]:
                raise
        else:
            return
