"""Lists, adds, changes and removes tags for the command line."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Self

from idalloc_schemas import Period
from idalloc_worker.mysql import (
    ADD_TAG,
    CHANGE_TAG,
    LIST_TAGS,
    RAISE_TAG,
    READ_ROW,
    REMOVE_TAG,
    Statement,
)
from idalloc_worker.store._admin_session import AdminSession
from idalloc_worker.store._new_rows import NOT_OF_A_PERIOD
from idalloc_worker.store._table_faults import REQUIRED_COLUMNS, check_columns, faults_explained
from idalloc_worker.tags import (
    COLUMNS,
    StoreUnavailableError,
    TagError,
    TagNotFoundError,
    is_kind,
    space_used,
)

_DUPLICATE_KEY: Final = 1062
_TRIES: Final = 100
"""How often a tag is looked at again that workers reserve from while it is to be removed."""

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


class PeriodsRefusedError(TagError):
    """A tag that was used is to start anew in each period; nothing was changed."""

    def __init__(self, app_tag: str, max_id: int) -> None:
        super().__init__(
            app_tag,
            f"ids of {app_tag!r} below {max_id} were handed out; with periods they come again, and "
            "callers that ignore the period take them for new ones. If that is what you want, "
            "repeat this with --allow-duplicates",
        )


class NotKeptError(TagError):
    """A column does not hold what was written to it; `column` is the first of them."""

    def __init__(self, app_tag: str, column: str, wanted: object, found: object) -> None:
        super().__init__(
            app_tag,
            f"{column} of {app_tag!r} is {found} after it was set to {wanted}; look at the type of "
            f"the column {column} and at the triggers of the table",
        )
        self.column = column


@dataclass(frozen=True, slots=True)
class TagRow:
    """A row of the table, as it is: in one that somebody else made a column may hold anything.

    `update_time` is in the database server's time zone.
    """

    app_tag: Any
    max_id: Any
    step: Any
    update_time: Any
    settings: Mapping[str, Any]
    """Every optional column; None is the default, also where the table lacks the column."""

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Read a row by the names of its columns; a table with VARBINARY columns gives bytes."""
        texts = {name: _text_of(value) for name, value in row.items()}
        return cls(
            texts["app_tag"],
            texts["max_id"],
            texts["step"],
            texts.get("update_time"),
            {name: texts.get(name) for name in COLUMNS},
        )

    @property
    def space_used(self) -> float | None:
        """How much of the tag's id space is used up, in percent; None if max_id is no number."""
        ceiling = self.settings["ceiling"]
        if not isinstance(self.max_id, int):
            return None
        return space_used(self.max_id, ceiling if isinstance(ceiling, int) else None).percent


def _text_of(value: Any) -> Any:
    if not isinstance(value, bytes):
        return value
    text = value.decode("utf-8", "backslashreplace")
    return text if text.isprintable() else f"0x{value.hex()}"


Rows = list[TagRow]  # by this name in `TagAdmin`, which has a method `list`


class TagAdmin:
    """The tags of one table. Raises TagError, TableError or StoreUnavailableError."""

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
        with faults_explained(self._session, self._table):
            rows = self._session.named_rows(statement.on(self._table), arguments)
        if rows and not rows[0].keys() >= set(REQUIRED_COLUMNS):
            check_columns(self._session, self._table)
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
        return self._kept(app_tag, columns)

    def set(
        self,
        app_tag: str,
        *,
        values: Values,
        allow_duplicates: bool = False,
    ) -> TagRow:
        """Change a tag's columns.

        Unless duplicates are allowed, a lower `max_id` is refused, and so are periods for a tag
        that was used without.
        """
        if is_kind(values.get("period")) and not allow_duplicates:
            row = self.show(app_tag)
            if row.max_id and not is_kind(row.settings["period"]):
                raise PeriodsRefusedError(app_tag, row.max_id)
        max_id = values.get("max_id")
        limit = max_id if isinstance(max_id, int) and not allow_duplicates else None
        changed = self._write(CHANGE_TAG, values, {"app_tag": app_tag, "limit": limit})
        if limit is not None and not changed:
            present = self.show(app_tag).max_id
            if isinstance(present, int) and present > limit:
                raise LoweringRefusedError(app_tag, present, limit)
        self._change_periods(app_tag, values)
        return self._kept(app_tag, values)

    def _change_periods(self, app_tag: str, values: Values) -> None:
        """Change the rows of a tag's periods as well, by what they were copied from."""
        copied = {name: value for name, value in values.items() if name not in NOT_OF_A_PERIOD}
        if not copied or not is_kind(self.show(app_tag).settings["period"]):
            return
        for row in self.list():
            found = Period.of_row(row.app_tag) if isinstance(row.app_tag, str) else None
            if found and found[0] == app_tag and row.settings["period"] == str(found[1]):
                self._write(CHANGE_TAG, copied, {"app_tag": row.app_tag, "limit": None})

    def raise_mark(self, app_tag: str, max_id: int) -> TagRow:
        """Make sure that no segment begins below `max_id` any more."""
        self._write(RAISE_TAG, NOTHING, {"app_tag": app_tag, "max_id": max_id})
        return self._kept(app_tag, {"max_id": max_id})

    def _write(self, statement: Statement, columns: Values, others: dict[str, object]) -> int:
        check_columns(self._session, self._table)
        with faults_explained(self._session, self._table, tuple(columns)):
            return self._session.change(statement.on(self._table, columns), {**columns, **others})

    def _kept(self, app_tag: str, values: Values) -> TagRow:
        """Read a row that was written, and see that it says so."""
        row = self.show(app_tag)
        found = {"max_id": row.max_id, "step": row.step, **row.settings}
        for column, wanted in values.items():
            # Workers may have raised the mark since.
            if found[column] != wanted and not (column == "max_id" and _at_least(row, wanted)):
                raise NotKeptError(app_tag, column, wanted, found[column])
        return row

    def remove(self, app_tag: str) -> TagRow:
        """Remove a tag and say what it was at that moment, so that it can go on from there."""
        for _ in range(_TRIES):
            row = self.show(app_tag)
            if self._write(REMOVE_TAG, NOTHING, {"app_tag": app_tag, "max_id": row.max_id}):
                return row
        problem = "changes all the time, or cannot be compared with what was read from it"
        raise TagError(app_tag, f"max_id of {app_tag!r} {problem}; nothing was removed")


def _at_least(row: TagRow, mark: object) -> bool:
    return isinstance(row.max_id, int) and isinstance(mark, int) and row.max_id >= mark
