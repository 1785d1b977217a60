"""Tags that start anew in each period: which row a request for one is drawn from.

Each period has a row of its own, `invoice@2026-11`, which is a tag like any other. A request is for
the row whose period it is, by the database's clock, when a worker takes it; with an ordered tag,
when the owner of its partition does.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from math import inf
from typing import Any, Final

from idalloc_schemas import Period, PeriodKind
from idalloc_worker._runtime import Runtime
from idalloc_worker.store import Job, NewRow, Templates
from idalloc_worker.tags import TagNotFoundError, TagSettings
from idalloc_worker.templates._clock import DatabaseClock
from idalloc_worker.templates._watch import TemplateWatch

CLOCK_INTERVAL: Final = 1.0
"""Seconds between two looks at the database's clock, where there are such tags."""

_LINGER: Final = 60.0
"""Seconds for which ids of a period that has ended are kept: a request may have waited."""

_APART: Final = timedelta(hours=1)
"""What the clocks of two servers are never apart: a period further ahead was begun by a clock that
was wrong, and is set by now."""

_EARLY: Final = 5.0
"""Seconds before its beginning, by this worker's idea of it, that a period may have begun."""


class Course:
    """One tag's way through its periods."""

    __slots__ = (
        *("_app_tag", "_begun", "_current", "_kind", "_since"),
        *("period", "row", "settings", "until"),
    )

    def __init__(self, app_tag: str, kind: PeriodKind, settings: TagSettings) -> None:
        self.settings = settings
        self.row = ""
        """The row from which its numbers are drawn now."""
        self.period = ""
        """The period of that row, as replies tell it."""
        self.until = -inf
        """When these are to be looked at again (monotonic seconds)."""
        self._app_tag = app_tag
        self._kind = kind
        self._begun: Period | None = None
        self._current: Period | None = None
        self._since = -inf

    def begun(self, period: Period) -> None:
        """Note that somebody draws from this period: none before it goes on."""
        if period.kind is self._kind and (self._begun is None or period > self._begun):
            self._begun, self.until = period, -inf

    def advance(self, clock: DatabaseClock, now: float, mark_of: Callable[[str], int]) -> None:
        """Go by the clock, but never back: it may be another server's by now."""
        zone, utc = self.settings.zone, clock.at(now)
        period = Period.at(self._kind, utc, zone)
        ahead = period.next()
        if mark_of(ahead.row_of(self._app_tag)):  # perhaps heard before this worker knew the tag
            self.begun(ahead)
        if self._begun is not None and self._begun.begins(zone) - utc > _APART:
            self._begun = None
        if self._begun is not None and period < self._begun:
            period = self._begun
        self.row, self.period = period.row_of(self._app_tag), str(period)
        self._current, self._since = period, clock.when(period.begins(zone))
        self.until = clock.when(period.ends(zone))

    def may_begin(self, period: Period, now: float) -> bool:
        """Whether the database may make the row of a period about now.

        It decides; but anybody may send any name, and those made up cost it nothing.
        """
        current = self._current
        if current is None or period.kind is not current.kind:
            return False
        if period < current:
            return period == current.previous() and now < self._since + _LINGER
        return period == current or (period == current.next() and now >= self.until - _EARLY)


class PeriodTags:
    """Owned by the link's thread.

    `on_ended` hears of rows that nobody draws from any more; `mark_of` tells how far the fleet is
    known to have reserved one.
    """

    def __init__(
        self,
        runtime: Runtime,
        watch: TemplateWatch,
        on_ended: Callable[[str], None],
        mark_of: Callable[[str], int],
    ) -> None:
        self.known: dict[str, Course] = {}
        """The tags that start anew."""
        self._on_ended = on_ended
        self._mark_of = mark_of
        self._refill_threads = runtime.refill_threads
        self._post = runtime.post
        self._call_later = runtime.link.call_later
        self._now = runtime.clock
        self._watch = watch
        self._clock: DatabaseClock | None = None
        self._ticking = False
        watch.on_found.append(self._on_found)

    def course(self, app_tag: str, now: float) -> Course | None:
        """Tell from which row a tag is drawn now; None: from its own."""
        course = self.known.get(app_tag)
        if course is not None and now >= course.until and self._clock is not None:
            before = course.row
            course.advance(self._clock, now, self._mark_of)
            if before and before != course.row:
                self._call_later(_LINGER, lambda: self._on_ended(before))
        return course

    def drawn_from(self, app_tag: str, now: float) -> tuple[str, str | None]:
        """Tell from which row a request is answered, and which period it is for, if it is one."""
        course = self.course(app_tag, now)
        if course is not None:
            return course.row, course.period
        found = self.period_of(app_tag)
        return app_tag, None if found is None else str(found[1])

    def period_of(self, row: str) -> tuple[Course, Period] | None:
        """Tell of which tag a row is a period, if it is one."""
        tag_and_period = Period.of_row(row) if self.known else None
        if tag_and_period is None or tag_and_period[0] not in self.known:
            return None
        return self.known[tag_and_period[0]], tag_and_period[1]

    def new_row(self, app_tag: str, now: float) -> NewRow | None:
        """Say what the row of a period is made from; None: it is none of a period.

        Raises TagNotFoundError if that period is not about to be begun.
        """
        found = self.period_of(app_tag)
        if found is None:
            return None
        tag, period = app_tag.removesuffix(found[1].row_of("")), found[1]
        course = self.course(tag, now)
        if course is None or not course.may_begin(period, now):
            raise TagNotFoundError(app_tag)
        return NewRow.of_period(app_tag, period, course.settings)

    def by_its_tag_only(self, app_tag: str) -> bool:
        """Whether a request names one period of an ordered tag.

        That would go to another owner than the one that draws from the period for the tag.
        """
        found = self.period_of(app_tag)
        return found is not None and found[0].settings.ordered

    def learn(self, app_tag: str, then: Callable[[Course | None, Exception | None], None]) -> None:
        """Look at the table and at the database's clock, then tell what is known of a tag."""
        self._watch.look_for(lambda error: then(self.course(app_tag, self._now()), error))

    def reserved(self, row: str) -> None:
        """Hear that somebody, this worker or another, has reserved from a row."""
        found = self.period_of(row)
        if found is not None:
            found[0].begun(found[1])

    # What the database says

    def _on_found(self, found: Templates) -> None:
        before, self.known = self.known, {}
        for app_tag, settings in found.rows.items():
            kind = settings.starts_anew
            if kind is None or settings.is_pattern or len(app_tag) > kind.longest_tag:
                continue  # what is wrong with it, its refills tell
            course = before.get(app_tag)
            if course is None or course.settings.starts_anew is not kind:
                course = Course(app_tag, kind, settings)
            course.settings = settings
            self.known[app_tag] = course
        if found.utc is not None:
            self._set_clock(found.utc)
        self._tick()

    def _set_clock(self, utc: datetime) -> None:
        self._clock = DatabaseClock(utc, self._now())
        for course in self.known.values():
            course.until = -inf

    def _tick(self) -> None:
        if self.known and not self._ticking:
            self._ticking = True
            self._call_later(CLOCK_INTERVAL, self._look_at_clock)

    def _look_at_clock(self) -> None:
        def report(utc: Any) -> None:
            self._post(lambda: on_read(utc))

        def on_read(utc: datetime | Exception) -> None:
            self._ticking = False
            if not isinstance(utc, Exception):  # else it goes on by itself
                self._set_clock(utc)
            self._tick()

        self._refill_threads.run(Job(lambda store: store.read_clock(), report))
