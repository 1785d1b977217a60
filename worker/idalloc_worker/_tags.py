"""Lists, adds, changes and removes tags for the command line."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final, Self

from idalloc_schemas import MAX_ID
from idalloc_worker._admin_session import AdminSession
from idalloc_worker._id_space import space_used
from idalloc_worker._migrate import missing_columns
from idalloc_worker._sql import (
    ADD_TAG,
    CHANGE_TAG,
    LIST_TAGS,
    OPTIONAL_COLUMNS,
    RAISE_TAG,
    READ_ROW,
    REMOVE_TAG,
    Statement,
)
from idalloc_worker._store_errors import (
    StoreError,
    StoreUnavailableError,
    TagError,
    TagNotFoundError,
)

_DUPLICATE_KEY: Final = 1062
_UNKNOWN_COLUMN: Final = 1054

Values = Mapping[str, int | str | None]
"""What to write into columns; None is the default."""

NOTHING: Final[Values] = MappingProxyType({})


class TagExistsError(TagError):
    """There is a tag of this name; nothing was changed."""

    def __init__(self, app_tag: str) -> None:
        super().__init__(app_tag, f"app_tag {app_tag!r} exists already; nothing was changed")


class LoweringRefusedError(TagError):
    """The new max_id lies below the present one; nothing was changed."""

    def __init__(self, app_tag: str, present: int, wanted: int) -> None:
        super().__init__(
            app_tag,
            f"max_id of {app_tag!r} is {present}; lowering it to {wanted} hands out ids a second "
            "time. Running workers keep their own mark and will raise it again, so if duplicates "
            "are what you want, stop the workers, then repeat this with --allow-duplicates",
        )
        self.present = present
        self.wanted = wanted


class MissingColumnsError(StoreError):
    """The table is older than the settings that were to be written; nothing was changed."""

    def __init__(self, table: str, columns: Sequence[str]) -> None:
        super().__init__(
            f"table {table} has no columns {', '.join(columns)}; idalloc migrate adds them"
        )
        self.columns = tuple(columns)


@dataclass(frozen=True, slots=True)
class TagRow:
    """A row of the table, as it is. `update_time` is in the database server's time zone."""

    app_tag: str
    max_id: int
    step: int
    update_time: datetime | None
    settings: Mapping[str, Any]
    """Every optional column; None is the default, also where the table lacks the column."""

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Read a row by the names of its columns; a table with VARBINARY columns gives bytes."""
        texts: dict[str, Any] = {
            name: value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value
            for name, value in row.items()
        }
        return cls(
            texts["app_tag"],
            texts["max_id"],
            texts["step"],
            texts.get("update_time"),
            {name: texts.get(name) for name in OPTIONAL_COLUMNS},
        )

    @property
    def space_used(self) -> float:
        """How much of the tag's id space is used up, in percent."""
        ceiling = self.settings["ceiling"]
        return space_used(self.max_id, ceiling if isinstance(ceiling, int) else None).percent


Rows = list[TagRow]  # by this name in `TagAdmin`, which has a method `list`


class TagAdmin:
    """The tags of one table. Raises TagError or StoreUnavailableError."""

    def __init__(self, session: AdminSession, table: str) -> None:
        self._session = session
        self._table = table

    def list(self) -> list[TagRow]:
        """Every tag, in the order of the names."""
        return self._read(LIST_TAGS)

    def show(self, app_tag: str) -> TagRow:
        """One tag."""
        rows = self._read(READ_ROW, {"app_tag": app_tag})
        if not rows:
            raise TagNotFoundError(app_tag)
        return rows[0]

    def _read(self, statement: Statement, arguments: dict[str, object] | None = None) -> Rows:
        rows = self._session.named_rows(statement.on(self._table), arguments)
        return [TagRow.from_row(row) for row in rows]

    def add(self, app_tag: str, step: int, max_id: int = 0, values: Values = NOTHING) -> TagRow:
        """Add a tag whose first segment begins at `max_id`."""
        columns = {"max_id": max_id, "step": step, **values}
        try:
            self._write(ADD_TAG, columns, {"app_tag": app_tag})
        except StoreUnavailableError as error:
            if error.errno == _DUPLICATE_KEY:
                raise TagExistsError(app_tag) from error
            raise
        return self.show(app_tag)

    def set(
        self,
        app_tag: str,
        *,
        values: Values,
        allow_duplicates: bool = False,
    ) -> TagRow:
        """Change a tag's columns. A lower `max_id` is refused unless duplicates are allowed."""
        max_id = values.get("max_id")
        limit = max_id if isinstance(max_id, int) and not allow_duplicates else MAX_ID
        changed = self._write(CHANGE_TAG, values, {"app_tag": app_tag, "limit": limit})
        row = self.show(app_tag)
        if not changed and row.max_id > limit:
            raise LoweringRefusedError(app_tag, row.max_id, limit)
        return row

    def raise_mark(self, app_tag: str, max_id: int) -> TagRow:
        """Make sure that no segment begins below `max_id` any more."""
        change: dict[str, object] = {"app_tag": app_tag, "max_id": max_id}
        self._session.change(RAISE_TAG.on(self._table), change)
        return self.show(app_tag)

    def _write(self, statement: Statement, columns: Values, others: dict[str, object]) -> int:
        try:
            return self._session.change(statement.on(self._table, columns), {**columns, **others})
        except StoreUnavailableError as error:
            if error.errno == _UNKNOWN_COLUMN:
                missing = set(missing_columns(self._session, self._table))
                raise MissingColumnsError(self._table, sorted(missing & set(columns))) from error
            raise

    def remove(self, app_tag: str) -> TagRow:
        """Remove a tag and say what it was at that moment, so that it can go on from there."""
        while True:
            row = self.show(app_tag)
            last: dict[str, object] = {"app_tag": app_tag, "max_id": row.max_id}
            if self._session.change(REMOVE_TAG.on(self._table), last):
                return row
