"""What one reservation is to move, worked out from the row and from who asks; no I/O."""

from collections.abc import Mapping
from dataclasses import dataclass

from idalloc_worker.engine import ReservationRequest
from idalloc_worker.tags import (
    AUTHORITY,
    InvalidRowError,
    RewindSuspectedError,
    Segment,
    TagExhaustedError,
    TagHasPeriodsError,
    TagIsOrderedError,
    TagNotFoundError,
    TagSettings,
    end_of_space,
    first_part,
    reservation_size,
)

_TOO_LONG = "with this period app_tag may have at most %d characters"
_NO_PATTERN = "new_per_minute is for patterns, whose names end in *; set it to NULL"


@dataclass(frozen=True, slots=True)
class Reservation:
    """A segment that is committed, and the settings that the row had.

    The segment is empty, and the row as it was, where nobody who waits may draw from the tag.

    `rewound_from` is the row's mark if it lay below the floor, because the database lost writes (a
    restore, a failover). This reservation has repaired it.
    """

    segment: Segment
    settings: TagSettings
    rewound_from: int | None = None

    @property
    def step(self) -> int:
        """The row's step, of which reservations are whole multiples as long as there are ids."""
        return self.settings.step


@dataclass(frozen=True, slots=True)
class Row:
    """A tag's row, as far as a reservation depends on it."""

    max_id: int
    settings: TagSettings
    authority: Mapping[str, object]
    """What was read from those columns of `AUTHORITY` that the table has."""

    @classmethod
    def checked(cls, app_tag: str, columns: Mapping[str, object]) -> "Row":
        """Read a row by the names of its columns. Raises InvalidRowError."""
        max_id = columns.get("max_id")
        if not isinstance(max_id, int) or max_id < 0:
            problem = f"max_id is {max_id}, which must be a whole number (BIGINT), 0 or more"
            raise InvalidRowError(app_tag, problem)
        settings = TagSettings.from_row(app_tag, columns)
        there = {name: columns[name] for name in AUTHORITY if name in columns}
        return cls(max_id, settings, there)

    @property
    def end(self) -> int:
        """Where the tag's ids end: no mark goes above it."""
        return end_of_space(self.settings.ceiling)


@dataclass(frozen=True, slots=True)
class Plan:
    """To move the mark of `row` to the end of [left, left + count), `first` ids of these first."""

    row: Row
    left: int
    first: int
    count: int

    @property
    def rewound_from(self) -> int | None:
        """The row's mark if it is to be repaired."""
        return self.row.max_id if self.row.max_id < self.left else None

    @property
    def authority(self) -> dict[str, object]:
        """What the row must still say for this to be right."""
        return dict(self.row.authority)

    def reserved(self, count: int) -> Reservation:
        """Say what came of it: the first so many of its ids."""
        segment = Segment(self.left, self.left + count)
        return Reservation(segment, self.row.settings, self.rewound_from)


def plan_for(request: ReservationRequest, row: Row) -> Plan:
    """Decide by what the row says; nothing is to be reserved where nobody may draw.

    Raises TagNotFoundError for a pattern, TagIsOrderedError, TagHasPeriodsError, InvalidRowError,
    RewindSuspectedError and TagExhaustedError.
    """
    settings = row.settings
    if settings.is_pattern:
        if not request.app_tag.endswith("*"):
            raise InvalidRowError(request.app_tag, _NO_PATTERN)
        raise TagNotFoundError(request.app_tag)
    if settings.ordered and not request.ordered:
        raise TagIsOrderedError(request.app_tag)
    if settings.starts_anew is not None:
        if len(request.app_tag) > settings.starts_anew.longest_tag:
            raise InvalidRowError(request.app_tag, _TOO_LONG % settings.starts_anew.longest_tag)
        raise TagHasPeriodsError(request.app_tag)
    if request.users is not None and not any(map(settings.allows, request.users)):
        return Plan(row, row.max_id, 0, 0)
    if row.max_id < request.floor and row.max_id != request.suspected:
        raise RewindSuspectedError(request.app_tag, row.max_id, request.floor, row.end)
    left = max(row.max_id, request.floor)
    space = row.end - left
    if space < 1:
        raise TagExhaustedError(request.app_tag, settings)
    count = reservation_size(settings, request.demand, request.want, space)
    return Plan(row, left, first_part(settings, request.want, count), count)
