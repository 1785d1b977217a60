"""What a column for a setting of a tag may hold, and how it is told to users.

Whatever reads, writes, shows or creates settings goes through these records. So a new setting is a
record in `TagSettings`, and the module that acts upon it.
"""

from collections.abc import Callable
from dataclasses import Field, dataclass, field, fields
from typing import Any, ClassVar, Final, TypeGuard

from idalloc_schemas import MAX_ID

_COLUMN: Final = "column"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A setting that may be NULL, or missing from the table: then it has its default."""

    is_text: ClassVar[bool] = False

    help: str
    """What it means, as `idalloc tags set --help` and docs/tags.md say it."""
    default: str
    """What NULL comes to, as the latter says it."""
    read_by: str
    """The module that acts upon it."""
    sql_type: str
    metavar: str
    """What may be written, as `--help` says it."""
    authority: bool = False
    """Whether it says if ids may be reserved, or how far: a reservation sees that it still does."""

    @classmethod
    def setting(cls, help: str, value: object = None, **record: Any) -> Any:  # noqa: A002
        """Make a field of `TagSettings`, which is `value` by default, with a column behind it."""
        return field(default=value, metadata={_COLUMN: cls(help=help, **record)})

    def read(self, value: object) -> Any:
        """Say what a value means that is not NULL. Raises ValueError, which says what it may be."""
        raise NotImplementedError

    def as_json(self, value: object) -> object:
        """Write what a row holds, valid or not."""
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Number(Column):
    """A whole number."""

    least: int = 1
    most: int = MAX_ID
    sql_type: str = "BIGINT"
    metavar: str = "N"

    def read(self, value: object) -> Any:
        if is_integer(value) and self.least <= value <= self.most:
            return value
        allowed = f"{self.least} or more" if self.most == MAX_ID else f"{self.least} to {self.most}"
        raise ValueError(f"{allowed}, or NULL for the default")


@dataclass(frozen=True, slots=True, kw_only=True)
class YesNo(Number):
    """1 or 0."""

    least: int = 0
    most: int = 1
    sql_type: str = "TINYINT(1)"
    metavar: str = "yes|no"

    def read(self, value: object) -> Any:
        return bool(Number.read(self, value))

    def as_json(self, value: object) -> object:
        return bool(value) if value in {0, 1} else value


@dataclass(frozen=True, slots=True, kw_only=True)
class Names(Column):
    """Names with a space between them."""

    is_text: ClassVar[bool] = True

    longest: int = 1000
    """Characters."""
    sql_type: str = f"VARCHAR({longest}) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"

    def read(self, value: object) -> Any:
        if isinstance(value, bytes):  # a column of a binary type
            value = value.decode("utf-8", "replace")
        if isinstance(value, str) and (words := frozenset(value.split())):
            return words
        # Not the default: who empties a list of users does not mean to open the tag to all.
        raise ValueError(f"names with a space between them, or NULL for {self.default}")

    def as_json(self, value: object) -> object:
        return value.split() if isinstance(value, str) else value


@dataclass(frozen=True, slots=True, kw_only=True)
class Word(Column):
    """One word out of many, which `check` raises ValueError for that it is none of."""

    is_text: ClassVar[bool] = True

    check: Callable[[str], object]
    """Its message says what the word must be."""
    longest: int
    """Characters."""
    sql_type: str = ""

    def __post_init__(self) -> None:
        kind = f"VARCHAR({self.longest}) CHARACTER SET ascii COLLATE ascii_bin"
        object.__setattr__(self, "sql_type", kind)  # as dataclasses have it in frozen ones

    def read(self, value: object) -> Any:
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        if not isinstance(value, str) or len(value) > self.longest:
            raise ValueError(f"a text of at most {self.longest} characters, or NULL")
        self.check(value)
        return value


def columns_of(settings: type) -> dict[str, Column]:
    """Give the columns by their names, in the order of the table."""
    made: tuple[Field[Any], ...] = fields(settings)
    return {one.name: one.metadata[_COLUMN] for one in made if _COLUMN in one.metadata}


def is_integer(value: object) -> TypeGuard[int]:
    """Tell a whole number from whatever else a row may hold."""
    return isinstance(value, int) and not isinstance(value, bool)
