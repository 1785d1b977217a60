"""Makes rows from others: of tags that are used for the first time."""

from collections.abc import Mapping
from dataclasses import dataclass

from idalloc_worker.mysql import ADD_FROM_PATTERN, NO_SUCH_COLUMN, PATTERNS, READ_ROW
from idalloc_worker.store._session import StoreSession
from idalloc_worker.tags import COLUMNS, InvalidRowError, TagNotFoundError, TagSettings

_NOT_COPIED = frozenset({"new_per_minute"})


@dataclass(frozen=True, slots=True)
class Templates:
    """The rows that others are made from."""

    patterns: Mapping[str, TagSettings]


def read_templates(session: StoreSession, table: str) -> Templates:
    """Read them; none where the table lacks the columns for it.

    A row that is not valid is none: the refills of who asks for it say what is wrong with it.
    """
    rows = session.read_named(PATTERNS.on(table), {}, harmless=NO_SUCH_COLUMN)
    patterns = {}
    for row in rows:
        app_tag = text_of(row["app_tag"])
        try:
            patterns[app_tag] = TagSettings.from_row(app_tag, row)
        except InvalidRowError:
            continue
    return Templates(patterns)


def add_from_pattern(session: StoreSession, table: str, app_tag: str, pattern: str) -> bool:
    """Make a row as the pattern's is; False if there is one. Raises TagNotFoundError without it."""
    rows = session.read_named(READ_ROW.on(table), {"app_tag": pattern})
    if not rows:
        raise TagNotFoundError(app_tag)
    copied = [name for name in ("step", *COLUMNS) if name in rows[0] and name not in _NOT_COPIED]
    session.check_time()
    sql = ADD_FROM_PATTERN.on(table, copied)
    return session.change(sql, {"app_tag": app_tag, "template": pattern}) == 1


def text_of(value: object) -> str:
    """Read a name, of which a table with VARBINARY columns gives bytes."""
    return value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
