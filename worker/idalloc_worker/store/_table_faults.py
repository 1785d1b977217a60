"""Says what is wrong with a table that somebody else made, and how to put it right."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from idalloc_worker.mysql import SHOW_COLUMNS
from idalloc_worker.store._admin_session import AdminSession
from idalloc_worker.tags import COLUMNS, StoreError, StoreUnavailableError

REQUIRED_COLUMNS: Final = ("app_tag", "max_id", "step")

_UNKNOWN_COLUMN: Final = 1054
_NO_DEFAULT: Final = 1364
_FIELD: Final = re.compile(r"Field '(.+?)' doesn't have a default value")


class TableError(StoreError):
    """The table is not one of tags, or lacks what was asked for; nothing was changed."""


class MissingColumnsError(TableError):
    """The table is older than the settings that were to be written; nothing was changed."""

    def __init__(self, table: str, columns: Sequence[str]) -> None:
        super().__init__(
            f"table {table} has no columns {', '.join(columns)}; idalloc migrate adds them"
        )
        self.columns = tuple(columns)


@contextmanager
def faults_explained(
    session: AdminSession, table: str, columns: Sequence[str] = ()
) -> Iterator[None]:
    """Turn errors that the table itself is the reason of into TableError.

    `columns` are those that a statement writes.
    """
    try:
        yield
    except StoreUnavailableError as error:
        if error.errno == _UNKNOWN_COLUMN:
            check_columns(session, table)
            missing = set(missing_columns(session, table)) & set(columns)
            if missing:
                raise MissingColumnsError(table, sorted(missing)) from error
        if error.errno == _NO_DEFAULT:
            raise TableError(_no_default(table, str(error))) from error
        raise


def column_names(session: AdminSession, table: str) -> list[str]:
    """Name the columns of the table, in lower case. Raises StoreUnavailableError."""
    return [str(row[0]).lower() for row in session.rows(SHOW_COLUMNS.on(table))]


def missing_columns(session: AdminSession, table: str) -> list[str]:
    """Name the optional columns that the table does not have. Raises StoreUnavailableError."""
    there = column_names(session, table)
    return [name for name in COLUMNS if name not in there]


def check_columns(session: AdminSession, table: str) -> None:
    """Raise TableError if the table lacks a column without which it is no table of tags."""
    there = column_names(session, table)
    missing = [name for name in REQUIRED_COLUMNS if name not in there]
    if missing:
        raise TableError(
            f"table {table} has no column {', '.join(missing)}, so it is not a table of tags; name "
            "another table in the configuration, or make a view of that name over this one "
            "(docs/migrating.md shows one)"
        )


def _no_default(table: str, message: str) -> str:
    found = _FIELD.search(message)
    column = found[1] if found else "a column"
    return (
        f"table {table} wants a value for {column}, which idalloc knows nothing of; give it a "
        f"default: ALTER TABLE {table} ALTER {column} SET DEFAULT ..."
    )
