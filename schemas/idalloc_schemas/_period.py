"""Days, months and years in which a tag may count anew; pure."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Self

from idalloc_schemas._usual import MAX_APP_TAG_LENGTH

if TYPE_CHECKING:  # it takes milliseconds to load, which callers do without
    from zoneinfo import ZoneInfo

_SEPARATOR: Final = "@"
_ISO_LENGTHS: Final = {"day": len("2026-11-26"), "month": len("2026-11"), "year": len("2026")}
_REST: Final = "0000-01-01"
"""What a shorter text lacks of its first day."""


class PeriodKind(StrEnum):
    """How long a period is."""

    DAY = "day"
    MONTH = "month"
    YEAR = "year"

    @property
    def text_length(self) -> int:
        """How many characters its periods are written with."""
        return _ISO_LENGTHS[self]

    @property
    def longest_tag(self) -> int:
        """How many characters a tag may have, so that the names of its periods' rows fit."""
        return MAX_APP_TAG_LENGTH - len(_SEPARATOR) - self.text_length

    def first_of(self, day: date) -> date:
        """Give the first day of the period that a day is in."""
        match self:
            case PeriodKind.DAY:
                return day
            case PeriodKind.MONTH:
                return day.replace(day=1)
            case PeriodKind.YEAR:
                return day.replace(month=1, day=1)


@dataclass(frozen=True, slots=True, order=True)
class Period:
    """One day, month or year. They sort by their first day; `str` writes `2026-11`."""

    first: date
    kind: PeriodKind

    def __post_init__(self) -> None:
        if self.kind.first_of(self.first) != self.first:
            raise ValueError(f"{self.first} is not the first day of a {self.kind}")

    @staticmethod
    @lru_cache(maxsize=1024)  # the same few come in reply after reply
    def parse(text: str) -> "Period":
        """Read `2026-11-26`, `2026-11` or `2026`. Raises ValueError for anything else."""
        kinds = [kind for kind in PeriodKind if kind.text_length == len(text)]
        if kinds:
            first = date.fromisoformat(text + _REST[len(text) :])
            period = Period(first, kinds[0])
            if str(period) == text:  # fromisoformat reads weeks as well
                return period
        raise ValueError("expected a day, month or year such as 2026-11-26, 2026-11 or 2026")

    @classmethod
    def of_row(cls, name: str) -> "tuple[str, Period] | None":
        """Read the tag and the period from the name of a period's row; None for other names."""
        app_tag, _, text = name.rpartition(_SEPARATOR)
        try:
            return (app_tag, cls.parse(text)) if app_tag else None
        except ValueError:
            return None

    @classmethod
    def at(cls, kind: PeriodKind, utc: datetime, zone: "ZoneInfo") -> Self:
        """Say which period it is in a time zone, at a time with an offset.

        Periods follow each other without a gap, and none comes twice: where clocks are set back
        over midnight, the new day has begun for good.
        """
        period = cls(kind.first_of(utc.astimezone(zone).date()), kind)
        if utc >= period.ends(zone):
            return period.next()
        return period.previous() if utc < period.begins(zone) else period

    def begins(self, zone: "ZoneInfo") -> datetime:
        """Give the time in UTC at which it begins: its first midnight in the time zone."""
        return _midnight(self.first, zone)

    def ends(self, zone: "ZoneInfo") -> datetime:
        """Give the time in UTC at which the next one begins."""
        return self.next().begins(zone)

    def next(self) -> Self:
        """Give the period after it."""
        in_it = self.first + timedelta(days=_SURELY_IN_NEXT[self.kind])
        return type(self)(self.kind.first_of(in_it), self.kind)

    def previous(self) -> Self:
        """Give the period before it."""
        return type(self)(self.kind.first_of(self.first - timedelta(days=1)), self.kind)

    def earlier(self, count: int) -> Self | None:
        """Give the period so many before it; None if that is before all dates."""
        period = self
        try:
            for _ in range(count):
                period = period.previous()
        except OverflowError:
            return None
        return period

    def row_of(self, app_tag: str) -> str:
        """Name the row from which a tag's numbers of this period are drawn."""
        return f"{app_tag}{_SEPARATOR}{self}"

    def __str__(self) -> str:
        return self.first.isoformat()[: self.kind.text_length]

    def __repr__(self) -> str:
        return f"Period.parse({str(self)!r})"


@lru_cache(maxsize=1024)  # many tags have the same zone, and each looks every second
def _midnight(day: date, zone: "ZoneInfo") -> datetime:
    # Where clocks leap over midnight, Python reads it as if they had not: about the leap.
    return datetime.combine(day, time(), zone).astimezone(UTC)


_SURELY_IN_NEXT: Final = {PeriodKind.DAY: 1, PeriodKind.MONTH: 31, PeriodKind.YEAR: 366}
"""Days from a period's first one to some day of the next."""
