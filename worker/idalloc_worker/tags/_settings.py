"""What the row of a tag says about how its ids are handed out."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeGuard

from idalloc_schemas import MAX_ID
from idalloc_worker.tags._errors import InvalidRowError, TagError

DEFAULT_TARGET_COVER: Final = 600.0
"""Seconds that the ids in memory are to last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TagSettings:
    """The settings of one tag, as they were at its last refill.

    Every column but `step` may be NULL, or missing from the table: that is the default.
    """

    step: int
    """Ids that are reserved at a time, at least."""
    max_step: int | None = None
    """Ids that are reserved at a time, at most; None: see `_step_size`. `step` wins over it."""
    target_cover: float = DEFAULT_TARGET_COVER
    """Seconds that the ids in memory are to last; 0 means that the step is fixed."""
    ceiling: int | None = None
    """The highest id that may be handed out; None: as high as the column goes."""
    allowed_users: frozenset[str] | None = None
    """The RabbitMQ users who may draw from the tag; None: everybody."""
    ordered: bool = False
    """Whether the ids must rise across the whole fleet."""
    max_count: int | None = None
    """Ids for one request, at most; None: see `_allowance`."""
    user_rate: int | None = None
    """Ids per second for one user, from one worker process; None: see `_allowance`."""

    @classmethod
    def from_row(cls, app_tag: str, row: Mapping[str, object]) -> "TagSettings":
        """Read a row by the names of its columns, of which it may have more.

        Raises InvalidRowError, which names the column and says what it may hold.
        """
        columns = _Columns(app_tag, row)
        target_cover = columns.integer("target_cover", 0)
        settings = cls(
            step=columns.required_integer("step", 1),
            max_step=columns.integer("max_step", 1),
            target_cover=DEFAULT_TARGET_COVER if target_cover is None else float(target_cover),
            ceiling=columns.integer("ceiling", 1, MAX_ID),
            allowed_users=columns.words("allowed_users"),
            ordered=bool(columns.integer("ordered", 0, 1)),
            max_count=columns.integer("max_count", 1),
            user_rate=columns.integer("user_rate", 1),
        )
        return _shared(settings)

    def allows(self, user: str | None) -> bool:
        """Tell whether a user may draw from the tag; None is somebody whom nobody vouches for."""
        return self.allowed_users is None or user in self.allowed_users


@lru_cache(maxsize=1024)
def _shared(settings: TagSettings) -> TagSettings:
    """Give the settings that other tags have too: of many tags, most are set alike."""
    return settings


class _Columns:
    """A row, read column by column."""

    def __init__(self, app_tag: str, row: Mapping[str, object]) -> None:
        self._app_tag = app_tag
        self._row = row

    def required_integer(self, name: str, least: int) -> int:
        value = self._row.get(name)
        if _is_integer(value) and value >= least:
            return value
        raise InvalidRowError(self._app_tag, f"{name} is {value}, which must be {least} or more")

    def integer(self, name: str, least: int, most: int = MAX_ID) -> int | None:
        value = self._row.get(name)
        if value is None or (_is_integer(value) and least <= value <= most):
            return value
        allowed = f"{least} or more" if most == MAX_ID else f"{least} to {most}"
        raise InvalidRowError(
            self._app_tag, f"{name} is {value!r}, which must be {allowed}, or NULL for the default"
        )

    def words(self, name: str) -> frozenset[str] | None:
        value = self._row.get(name)
        if isinstance(value, bytes):  # a column of a binary type
            value = value.decode("utf-8", "replace")
        if value is None:
            return None
        if isinstance(value, str) and (words := frozenset(value.split())):
            return words
        # Not "everybody": who empties a list of users does not mean to open the tag to all.
        raise InvalidRowError(
            self._app_tag,
            f"{name} is {value!r}, which must be names with a space between them, or NULL for "
            "everybody",
        )


def _is_integer(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


class TagExhaustedError(TagError):
    """No id is left below the end of the id space, the tag's ceiling, or the end of the column.

    `settings` are those of the row, where it is not the column that is too narrow.
    """

    def __init__(self, app_tag: str, settings: TagSettings | None = None) -> None:
        super().__init__(app_tag, f"the id space of app_tag {app_tag!r} is used up")
        self.settings = settings
