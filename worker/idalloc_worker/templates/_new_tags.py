"""Makes the rows of tags that are used for the first time, where the table says that they may."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from idalloc_worker._runtime import Runtime
from idalloc_worker.counters import Event
from idalloc_worker.store import Job, NewRow, Templates
from idalloc_worker.tags import StoreReason, StoreUnavailableError, TagError
from idalloc_worker.templates._patterns import Patterns
from idalloc_worker.templates._periods import PeriodTags
from idalloc_worker.templates._watch import TemplateWatch

_log = logging.getLogger("idalloc.templates")

_FORBIDDEN_FOR: Final = 30.0
"""Seconds until a right that was missing is tried again."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    app_tag: str
    users: frozenset[str | None]
    on_made: Callable[[], None]
    on_failed: Callable[[Exception], None]


class NewTags:
    """Owned by the link's thread.

    Whether a name fits a pattern is told from memory: names that somebody makes up cost the
    database nothing more.
    """

    def __init__(self, runtime: Runtime, watch: TemplateWatch, periods: PeriodTags) -> None:
        self._refill_threads = runtime.refill_threads
        self._post = runtime.post
        self._clock = runtime.clock
        self._counters = runtime.counters.events
        self._watch = watch
        self._periods = periods
        self._patterns = Patterns()
        self._forbidden: StoreUnavailableError | None = None
        self._forbidden_until = 0.0
        watch.on_found.append(self._on_found)

    def make(
        self,
        app_tag: str,
        users: Iterable[str | None],
        on_made: Callable[[], None],
        on_failed: Callable[[Exception], None],
    ) -> None:
        """Make the row of a tag for one of its users; also `on_made` if somebody else has.

        Fails with TagNotFoundError if it is to be made from nothing, TooManyNewTagsError,
        PeriodNotBegunError, or the store's error.
        """
        wanted = _Wanted(app_tag, frozenset(users), on_made, on_failed)

        def on_looked(error: Exception | None) -> None:
            if error is None:
                self._make(wanted)
            else:
                on_failed(error)

        if self._watch.ready:
            self._make(wanted)
        else:
            self._watch.look_for(on_looked)

    def _on_found(self, found: Templates) -> None:
        self._patterns.replace(found.rows)

    def _make(self, wanted: _Wanted) -> None:
        try:
            row = self._row(wanted)
        except (TagError, StoreUnavailableError) as error:
            wanted.on_failed(error)
            return

        def report(made: Any) -> None:
            self._post(lambda: self._on_made(wanted, row, made))

        self._refill_threads.run(Job(lambda store: store.add_row(row), report))

    def _row(self, wanted: _Wanted) -> NewRow:
        """Say what the row is to be made from. Raises TagError, and what is known to fail."""
        now = self._clock()
        row = self._periods.new_row(wanted.app_tag, now)
        if row is None:
            choice = self._patterns.choose(wanted.app_tag, wanted.users, now)
            row = NewRow(wanted.app_tag, choice.pattern)
        if self._forbidden is not None and now < self._forbidden_until:
            raise self._forbidden
        return row

    def _on_made(self, wanted: _Wanted, row: NewRow, made: object) -> None:
        if isinstance(made, Exception):
            self._note_missing_right(made)
            wanted.on_failed(made)
            return
        if made:
            self._counters[Event.TAGS_MADE] += 1
            _log.info("Made app_tag %s from %s", row.app_tag, row.template)
            self._remove_ended(row)
        wanted.on_made()

    def _remove_ended(self, row: NewRow) -> None:
        """Remove the rows of periods that ended so long ago that they are not kept."""
        course = self._periods.known.get(row.template)
        if row.period is None or course is None or course.settings.keep_periods is None:
            return
        template = row.template
        oldest = row.period.earlier(course.settings.keep_periods)
        if oldest is None:
            return

        def report(removed: Any) -> None:
            self._post(lambda: _tell_removed(template, removed))

        work = Job(lambda store: store.remove_periods(template, oldest), report)
        self._refill_threads.run(work)

    def _note_missing_right(self, error: Exception) -> None:
        """Do not try again soon: each such failure costs a connection."""
        if isinstance(error, StoreUnavailableError) and error.reason is StoreReason.ACCESS_DENIED:
            self._forbidden, self._forbidden_until = error, self._clock() + _FORBIDDEN_FOR
            _log.error("App tags cannot be made: grant INSERT on the table to the worker's user")


def _tell_removed(app_tag: str, removed: list[str] | Exception) -> None:
    if isinstance(removed, Exception):
        _log.warning("Ended periods of %s could not be removed: %s", app_tag, removed)
    elif removed:
        _log.info("Removed ended periods of %s: %s", app_tag, ", ".join(removed))
