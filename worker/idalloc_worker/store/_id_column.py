"""The highest id in a column of an application's own table."""

import re
from dataclasses import dataclass
from typing import Any, Final

from idalloc_worker.mysql import (
    APPLICATION_COLUMNS,
    HIGHEST_ID,
    HIGHEST_ID_BELOW,
    HIGHEST_IN_TEXT,
    READ_ONLY,
    Statement,
)
from idalloc_worker.store._admin_session import AdminSession
from idalloc_worker.tags import StoreError, StoreReason, StoreUnavailableError

_NUMBER: Final = re.compile(r"(?:tiny|small|medium|big)?int\b|decimal\(\d+,0\)", re.IGNORECASE)
_TEXT: Final = re.compile(r"(var)?(char|binary)\b|(tiny|medium|long)?(text|blob)\b", re.IGNORECASE)
_NONE_SUCH: Final = frozenset({StoreReason.MISSING_TABLE, StoreReason.MISSING_DATABASE})
_BITS: Final = {"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32}
"""Of other types as many as ids have."""

_EXPLAIN: Final = "EXPLAIN FORMAT=TRADITIONAL "
_FROM_INDEX: Final = ("optimized away", "No matching min/max row", "Impossible")
"""What EXPLAIN says where a look at the end of an index is enough."""


class IdColumnError(StoreError):
    """A column cannot be compared with a tag's row; its text says why."""


@dataclass(frozen=True, slots=True)
class IdColumn:
    """A column of `table`, which may be `database.table`.

    `prefix` is what stands before the digits of each id in a column of texts; None for numbers.
    """

    table: str
    column: str
    prefix: str | None = None

    def __str__(self) -> str:
        return f"{self.table}.{self.column}"


@dataclass(frozen=True, slots=True)
class HighestId:
    """What a column says: its highest id, None if it holds none, and what is to be known of it."""

    value: int | None
    warnings: tuple[str, ...] = ()


def highest_id(session: AdminSession, of: IdColumn, end: int) -> HighestId:
    """Find the highest id below `end`, which is where the ids of the tag end.

    Raises IdColumnError or StoreUnavailableError.
    """
    try:
        kind = _kind(session, of)
        statement = HIGHEST_ID_BELOW if end < _highest_value(kind) else HIGHEST_ID
        if of.prefix is not None:
            statement = HIGHEST_IN_TEXT
        warnings = _warnings(session, of, statement, end)
        [(highest, *others)] = _read(session, of, statement, end)
    except StoreUnavailableError as error:
        if error.reason in _NONE_SUCH:
            raise IdColumnError(f"there is no table {of.table} at {session.address}") from error
        raise
    if others and others[0]:
        raise IdColumnError(f"{others[0]} values of {of} are not {of.prefix!r} and digits")
    return HighestId(None if highest is None else int(highest), warnings)


def _read(
    session: AdminSession, of: IdColumn, statement: Statement, end: int
) -> list[tuple[Any, ...]]:
    arguments: dict[str, object] = {"end": end, "prefix": of.prefix}
    return session.rows(statement.on_any(of.table, of.column), arguments)


def _kind(session: AdminSession, of: IdColumn) -> str:
    """Tell the type of the column. Raises IdColumnError if its highest id cannot be found."""
    kinds = {
        str(name).lower(): kind.decode() if isinstance(kind, bytes) else str(kind)
        for name, kind, *_ in _read(session, of, APPLICATION_COLUMNS, 0)
    }
    kind = kinds.get(of.column.lower())
    if kind is None:
        raise IdColumnError(f"table {of.table} has no column {of.column}")
    if of.prefix is None and _TEXT.match(kind):
        raise IdColumnError(
            f"{of} is of type {kind}, of which the highest value is not the highest number; if "
            "each is a prefix and digits, give the prefix, which may be empty (--prefix)"
        )
    if not (_NUMBER if of.prefix is None else _TEXT).match(kind):
        wanted = "a column of whole numbers" if of.prefix is None else "a column of texts"
        raise IdColumnError(f"{of} is of type {kind}, not {wanted}")
    return kind


def _highest_value(kind: str) -> int:
    """Tell how high a type reaches: MySQL 9 reads all rows for a bound that no value reaches."""
    bits = next((bits for name, bits in _BITS.items() if kind.lower().startswith(name)), 64)
    return (1 << (bits if "unsigned" in kind.lower() else bits - 1)) - 1


def _warnings(
    session: AdminSession, of: IdColumn, statement: Statement, end: int
) -> tuple[str, ...]:
    """Tell what whoever waits for an answer, or relies on it, should know."""
    warnings = []
    [(read_only,)] = session.rows(READ_ONLY.text)
    if str(read_only).upper() not in {"0", "OFF"}:
        warnings.append(
            f"{session.address} is read-only; if it is a replica that lags, it lacks the last ids: "
            "ask its primary"
        )
    plan = session.named_rows(
        _EXPLAIN + statement.on_any(of.table, of.column), {"end": end, "prefix": of.prefix}
    )
    if not any(text in str(plan) for text in _FROM_INDEX):
        number = max((rows for row in plan if isinstance(rows := row.get("rows"), int)), default=0)
        why = f"no index begins with {of.column}" if of.prefix is None else "to compare texts"
        warnings.append(f"every row of {of.table} is read, {number} or so: {why}")
    return tuple(warnings)
