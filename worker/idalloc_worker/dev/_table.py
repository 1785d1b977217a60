"""A table of segments that lives in memory: ids begin anew with the process.

What a reservation comes to is decided by the same `plan_for` as for a row in MySQL.
"""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from idalloc_schemas import Period
from idalloc_worker.engine import ReservationRequest
from idalloc_worker.store import NewRow, Reservation, Row, Templates, plan_for
from idalloc_worker.tags import PeriodNotBegunError, TagNotFoundError, TagSettings

_STEP: Final = 1000


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag as somebody describes it; `columns` are those of the table, `max_id` among them."""

    name: str
    columns: Mapping[str, object]

    def row(self) -> Row:
        """Give the row at first. Raises InvalidRowError."""
        return Row.checked(self.name, {"max_id": 0, "step": _STEP, **self.columns})


class MemoryTable:
    """A `Store`, which all refill threads share. Its lock guards the rows.

    Without `tags` there is every tag that is asked for, with the default step. In `gaps` stands
    how many ids somebody else has after each segment; a segment is one step then.
    """

    def __init__(self, tags: Sequence[Tag] = (), gaps: Mapping[str, int] | None = None) -> None:
        """Make the rows. Raises InvalidRowError."""
        self._any_tag = not tags
        self._gaps = gaps or {}
        self._lock = threading.Lock()
        self._rows = {tag.name: tag.row() for tag in tags}

    def reserve(self, request: ReservationRequest) -> Reservation:
        """Reserve as `SegmentStore` does, but of a row that is never set back.

        Its mark is at least the floor: the broker remembers more than this process.
        """
        app_tag = request.app_tag
        with self._lock:
            row = self._row(app_tag)
            plan = plan_for(request, replace(row, max_id=max(row.max_id, request.floor)))
            gap = self._gaps.get(app_tag, 0)
            reserved = plan.reserved(min(plan.count, row.settings.step) if gap else plan.count)
            if plan.count:
                mark = min(reserved.segment.right + gap, row.end)
                self._rows[app_tag] = replace(row, max_id=mark)
        return reserved

    def give_back(self, app_tag: str, left: int, right: int) -> bool:
        """Lower a row from `right` to `left`; False if it says something else by now."""
        return self._move(app_tag, right, left)

    def raise_mark(self, app_tag: str, seen: int, floor: int) -> bool:
        """Raise a row from `seen` to `floor`; False if it says something else by now."""
        return self._move(app_tag, seen, floor)

    def read_marks(self, app_tags: Sequence[str]) -> dict[str, int]:
        """Read how far tags are reserved."""
        with self._lock:
            return {tag: self._rows[tag].max_id for tag in app_tags if tag in self._rows}

    def existing(self, app_tags: Sequence[str]) -> frozenset[str]:
        """Tell which of these tags there are."""
        with self._lock:
            return frozenset(tag for tag in app_tags if self._any_tag or tag in self._rows)

    def templates(self) -> Templates:
        """Tell which rows others are made from, and what time it is."""
        with self._lock:
            rows = {tag: row.settings for tag, row in self._rows.items()}
        made = {tag: one for tag, one in rows.items() if one.is_pattern or one.starts_anew}
        return Templates(made, self.read_clock())

    def add_row(self, row: NewRow) -> bool:
        """Make a row; False if there is one. Raises TagNotFoundError and PeriodNotBegunError."""
        if row.begins is not None and self.read_clock() < row.begins:
            raise PeriodNotBegunError(row.app_tag)
        with self._lock:
            template = self._rows.get(row.template)
            if template is None:
                raise TagNotFoundError(row.app_tag)
            if row.app_tag in self._rows:
                return False
            settings = replace(template.settings, new_per_minute=None)
            if row.period is not None:
                settings = replace(settings, period=str(row.period), time_zone=None)
            self._rows[row.app_tag] = replace(template, max_id=0, settings=settings)
            return True

    def remove_periods(self, app_tag: str, before: Period) -> list[str]:
        """Remove none: what is in memory goes with the process."""
        del app_tag, before
        return []

    def read_clock(self) -> datetime:
        """Tell what time it is by this machine."""
        return datetime.now(UTC)

    def ordered_tags(self) -> dict[str, int]:
        """Tell which tags are ordered, and how far they are reserved."""
        with self._lock:
            return {tag: row.max_id for tag, row in self._rows.items() if row.settings.ordered}

    def arm(self) -> None:
        """Nothing here waits, so that there is nothing to interrupt."""

    abort = close = arm

    def _row(self, app_tag: str) -> Row:
        row = self._rows.get(app_tag)
        if row is None:
            if not self._any_tag:
                raise TagNotFoundError(app_tag)
            row = self._rows[app_tag] = Row(0, TagSettings(step=_STEP), {})
        return row

    def _move(self, app_tag: str, seen: int, mark: int) -> bool:
        with self._lock:
            row = self._row(app_tag)
            if row.max_id != seen:
                return False
            self._rows[app_tag] = replace(row, max_id=mark)
            return True
