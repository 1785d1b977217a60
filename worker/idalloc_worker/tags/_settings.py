"""What the row of a tag says about how its ids are handed out."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from idalloc_schemas import Period, PeriodKind
from idalloc_worker.tags._columns import Names, Number, Word, YesNo, columns_of, is_integer
from idalloc_worker.tags._errors import InvalidRowError, TagError

DEFAULT_TARGET_COVER: Final = 600.0
"""Seconds that the ids in memory are to last."""


_KINDS: Final = frozenset(PeriodKind)


def is_kind(period: object) -> bool:
    """Tell a tag that starts anew by its column `period` from the row of one of its periods."""
    return period in _KINDS


def _check_period(text: str) -> None:
    """Raise ValueError unless the row may say so: which periods its ids have, or which it is."""
    if is_kind(text):
        return
    try:
        Period.parse(text)
    except ValueError:
        raise ValueError("day, month or year, or NULL for none") from None


def _check_zone(text: str) -> None:
    try:
        ZoneInfo(text)
    except (KeyError, ValueError, OSError):
        raise ValueError("a time zone such as Europe/Berlin, or NULL for UTC") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class TagSettings:
    """The settings of one tag, as they were at its last refill; but for `step`, see `Column`."""

    step: int
    """Ids that are reserved at a time, at least."""

    max_step: int | None = Number.setting(
        "Ids that a worker reserves at a time, at most.",
        default="100,000 steps, at most 10,000,000",
        read_by="tags._step_size",
    )
    target_cover: float = Number.setting(
        "How long the ids in memory should last (600); 0: the step is fixed.",
        DEFAULT_TARGET_COVER,
        default=f"{DEFAULT_TARGET_COVER:g}",
        read_by="tags._step_size",
        least=0,
        sql_type="INT",
        metavar="SECONDS",
    )
    ceiling: int | None = Number.setting(
        "The highest id that may be handed out.",
        authority=True,
        default="2^63 - 2",
        read_by="store._reservation",
    )
    allowed_users: frozenset[str] | None = Names.setting(
        "RabbitMQ users who may use the tag, with a space between them; default: everybody.",
        authority=True,
        default="everybody",
        read_by="tags._settings",
        metavar="USERS",
    )
    ordered: bool = YesNo.setting(
        "Whether ids must rise across all workers.",
        authority=True,
        value=False,
        default="0",
        read_by="store._reservation",
    )
    max_count: int | None = Number.setting(
        "Ids that one request may ask for.",
        default="a step, 1000, or a tenth of the ids that are left, whichever is most",
        read_by="tags._allowance",
    )
    user_rate: int | None = Number.setting(
        "Ids a second for one RabbitMQ user, from each worker process.",
        default="see below",
        read_by="tags._allowance",
    )

    new_per_minute: int | None = Number.setting(
        "Makes the row a pattern, such as tenant-*: app tags a minute that one RabbitMQ user may "
        "make by using them, through each worker process.",
        default="the row is no pattern",
        read_by="templates._patterns",
    )

    period: str | None = Word.setting(
        "Has its ids begin anew in each day, month or year.",
        default="never",
        read_by="store._new_rows",
        check=_check_period,
        longest=len("2026-11-26"),
        metavar="day|month|year",
    )
    time_zone: str | None = Word.setting(
        "Where the periods' days begin, such as Europe/Berlin.",
        default="UTC",
        read_by="tags._settings",
        check=_check_zone,
        longest=64,
        metavar="ZONE",
    )
    keep_periods: int | None = Number.setting(
        "How many ended periods keep their rows; older ones are removed.",
        default="all",
        read_by="templates._new_tags",
        most=5000,
    )

    @classmethod
    def from_row(cls, app_tag: str, row: Mapping[str, object]) -> "TagSettings":
        """Read a row by the names of its columns, of which it may have more.

        Raises InvalidRowError, which names the column and says what it may hold.
        """
        step = row.get("step")
        if not is_integer(step) or step < 1:
            raise InvalidRowError(app_tag, f"step is {step}, which must be 1 or more")
        values = {}
        for name, column in COLUMNS.items():
            if (value := row.get(name)) is not None:
                try:
                    values[name] = column.read(value)
                except ValueError as error:
                    problem = f"{name} is {value!r}, which must be {error}"
                    raise InvalidRowError(app_tag, problem) from None
        return _shared(cls(step=step, **values))

    @property
    def is_pattern(self) -> bool:
        """Whether other rows are made from this one, which hands out no ids itself."""
        return self.new_per_minute is not None

    @property
    def starts_anew(self) -> PeriodKind | None:
        """In which periods; None: in none, also where it is the row of one period."""
        return PeriodKind(self.period) if self.period and is_kind(self.period) else None

    @property
    def zone(self) -> ZoneInfo:
        """Where its days begin."""
        return ZoneInfo(self.time_zone or "UTC")

    def allows(self, user: str | None) -> bool:
        """Tell whether a user may draw from the tag; None is somebody whom nobody vouches for."""
        return self.allowed_users is None or user in self.allowed_users


COLUMNS: Final = columns_of(TagSettings)
"""The columns that a table may lack, by their names and in their order."""

AUTHORITY: Final = tuple(name for name, column in COLUMNS.items() if column.authority)


@lru_cache(maxsize=1024)
def _shared(settings: TagSettings) -> TagSettings:
    """Give the settings that other tags have too: of many tags, most are set alike."""
    return settings


class TagExhaustedError(TagError):
    """No id is left below the end of the id space, the tag's ceiling, or the end of the column.

    `settings` are those of the row, where it is not the column that is too narrow.
    """

    def __init__(self, app_tag: str, settings: TagSettings | None = None) -> None:
        super().__init__(app_tag, f"the id space of app_tag {app_tag!r} is used up")
        self.settings = settings
