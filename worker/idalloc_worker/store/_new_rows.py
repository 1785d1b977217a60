"""Makes rows from others: of tags that are used for the first time, and of new periods."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Self

from idalloc_schemas import Period
from idalloc_worker.mysql import (
    ADD_FROM_PATTERN,
    ADD_PERIOD,
    DATABASE_CLOCK,
    NO_SUCH_COLUMN,
    PERIODS,
    READ_ROW,
    REMOVE_PERIODS,
    TEMPLATES,
)
from idalloc_worker.store._session import StoreSession
from idalloc_worker.tags import (
    COLUMNS,
    InvalidRowError,
    PeriodNotBegunError,
    TagNotFoundError,
    TagSettings,
)

_OF_TEMPLATES: Final = frozenset({"new_per_minute"})
_OF_TAGS: Final = _OF_TEMPLATES | {"period", "time_zone", "keep_periods"}
"""Columns that are not copied."""

NOT_OF_A_PERIOD: Final = _OF_TAGS | {"max_id"}
"""Columns of a tag that are not those of its periods' rows."""

_LATE: Final = timedelta(minutes=1)
"""How long after its end the row of a period may still be made: for requests that waited."""


@dataclass(frozen=True, slots=True)
class Templates:
    """The rows that others are made from, by their names, and when that was.

    `utc` is the time by the database's clock, where there are rows with periods.
    """

    rows: Mapping[str, TagSettings]
    utc: datetime | None = None


@dataclass(frozen=True, slots=True)
class NewRow:
    """The row of a tag, made from the row of another one: of a pattern, or of a tag's period."""

    app_tag: str
    template: str
    period: Period | None = None
    begins: datetime | None = None
    ends: datetime | None = None

    @classmethod
    def of_period(cls, app_tag: str, period: Period, settings: TagSettings) -> Self:
        """Make the row of a period of a tag that has these settings."""
        template = app_tag.removesuffix(period.row_of(""))
        zone = settings.zone
        return cls(app_tag, template, period, period.begins(zone), period.ends(zone))


def read_templates(session: StoreSession, table: str) -> Templates:
    """Read them; none where the table lacks the columns for it.

    A row that is not valid is none: the refills of who asks for it say what is wrong with it.
    """
    rows = session.read_named(TEMPLATES.on(table), {}, harmless=NO_SUCH_COLUMN)
    templates = {}
    for row in rows:
        app_tag = text_of(row["app_tag"])
        try:
            templates[app_tag] = TagSettings.from_row(app_tag, row)
        except InvalidRowError:
            continue
    periods = any(settings.starts_anew for settings in templates.values())
    return Templates(templates, read_clock(session) if periods else None)


def read_clock(session: StoreSession) -> datetime:
    """Tell what time it is by the database."""
    [(utc,)] = session.read(DATABASE_CLOCK.text)
    if not isinstance(utc, datetime):
        raise TypeError(f"the database's time is {utc!r}")
    return utc.replace(tzinfo=UTC)


def add_row(session: StoreSession, table: str, row: NewRow) -> bool:
    """Make a row; False if there is one, or what it is made from is none of that any more.

    Raises TagNotFoundError if that is gone, and PeriodNotBegunError.
    """
    rows = session.read_named(READ_ROW.on(table), {"app_tag": row.template})
    if not rows:
        raise TagNotFoundError(row.app_tag)
    period = row.period
    left_out = _OF_TEMPLATES if period is None else _OF_TAGS
    copied = [name for name in ("step", *COLUMNS) if name in rows[0] and name not in left_out]
    arguments: dict[str, object] = {"app_tag": row.app_tag, "template": row.template}
    session.check_time()
    if period is None or row.begins is None or row.ends is None:
        return session.change(ADD_FROM_PATTERN.on(table, copied), arguments) == 1
    arguments |= {"period": str(period), "kind": str(period.kind)}
    arguments |= {"begins": _naive(row.begins), "until": _naive(row.ends + _LATE)}
    if session.change(ADD_PERIOD.on(table, copied), arguments) == 1:
        return True
    if read_clock(session) < row.begins:
        raise PeriodNotBegunError(row.app_tag)
    return False


def remove_periods(session: StoreSession, table: str, app_tag: str, before: Period) -> list[str]:
    """Remove the rows of a tag's earlier periods; tell which."""
    # All names that begin with the tag and the separator, and the character behind it ends them.
    first = before.row_of(app_tag)[: -len(str(before))]
    arguments = {"first": first, "end": first[:-1] + chr(ord(first[-1]) + 1)}
    names = [text_of(name) for (name,) in session.read(PERIODS.on(table), arguments)]
    rows = [name for name in names if _is_earlier(name, app_tag, before)]
    if rows:
        session.check_time()
        session.change(REMOVE_PERIODS.on(table), {"app_tag": app_tag, "rows": tuple(rows)})
    return rows


def _is_earlier(name: str, app_tag: str, before: Period) -> bool:
    found = Period.of_row(name)
    if found is None or found[0] != app_tag:
        return False
    return found[1].kind is before.kind and found[1] < before


def _naive(utc: datetime) -> datetime:
    """Write a time as the database's clock tells it."""
    return utc.replace(tzinfo=None)


def text_of(value: object) -> str:
    """Read a name, of which a table with VARBINARY columns gives bytes."""
    return value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
