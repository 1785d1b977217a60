"""Lists, adds, changes and removes tags for the command line."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Self

from idalloc_schemas import MAX_ID
from idalloc_worker._admin_session import AdminSession
from idalloc_worker._sql import ADD_TAG, CHANGE_TAG, LIST_TAGS, READ_TAG, REMOVE_TAG
from idalloc_worker._store_errors import StoreUnavailableError, TagError, TagNotFoundError

_DUPLICATE_KEY: Final = 1062


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


@dataclass(frozen=True, slots=True)
class TagRow:
    """A row of the table. `update_time` is in the database server's time zone."""

    app_tag: str
    max_id: int
    step: int
    update_time: datetime | None

    @classmethod
    def from_row(cls, row: tuple[Any, ...]) -> Self:
        """Read a row; a table with a VARBINARY column gives bytes."""
        app_tag, max_id, step, update_time = row
        if isinstance(app_tag, bytes):
            app_tag = app_tag.decode("utf-8", "backslashreplace")
        return cls(app_tag, max_id, step, update_time)


class TagAdmin:
    """The tags of one table. Raises TagError or StoreUnavailableError."""

    def __init__(self, session: AdminSession, table: str) -> None:
        self._session = session
        self._table = table

    def list(self) -> list[TagRow]:
        """Every tag, in the order of the names."""
        return [TagRow.from_row(row) for row in self._session.rows(LIST_TAGS.on(self._table))]

    def show(self, app_tag: str) -> TagRow:
        """One tag."""
        rows = self._session.rows(READ_TAG.on(self._table), {"app_tag": app_tag})
        if not rows:
            raise TagNotFoundError(app_tag)
        return TagRow.from_row(rows[0])

    def add(self, app_tag: str, step: int, max_id: int = 0) -> TagRow:
        """Add a tag whose first segment begins at `max_id`."""
        row: dict[str, object] = {"app_tag": app_tag, "max_id": max_id, "step": step}
        try:
            self._session.change(ADD_TAG.on(self._table), row)
        except StoreUnavailableError as error:
            if error.errno == _DUPLICATE_KEY:
                raise TagExistsError(app_tag) from error
            raise
        return self.show(app_tag)

    def set(
        self,
        app_tag: str,
        *,
        step: int | None = None,
        max_id: int | None = None,
        allow_duplicates: bool = False,
    ) -> TagRow:
        """Change a tag. A lower `max_id` is refused unless duplicates are allowed."""
        ceiling = MAX_ID if max_id is None or allow_duplicates else max_id
        change: dict[str, object] = {
            "app_tag": app_tag,
            "step": step,
            "max_id": max_id,
            "ceiling": ceiling,
        }
        changed = self._session.change(CHANGE_TAG.on(self._table), change)
        row = self.show(app_tag)
        if not changed and row.max_id > ceiling:
            raise LoweringRefusedError(app_tag, row.max_id, ceiling)
        return row

    def remove(self, app_tag: str) -> TagRow:
        """Remove a tag and say what it was at that moment, so that it can go on from there."""
        while True:
            row = self.show(app_tag)
            last: dict[str, object] = {"app_tag": app_tag, "max_id": row.max_id}
            if self._session.change(REMOVE_TAG.on(self._table), last):
                return row
