"""Makes the rows of tags that are used for the first time, where an operator allows that."""

import logging
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from idalloc_worker._runtime import Runtime
from idalloc_worker.counters import Event
from idalloc_worker.store import Job, Templates
from idalloc_worker.tags import StoreReason, StoreUnavailableError, TagError
from idalloc_worker.templates._patterns import Choice, Patterns

_log = logging.getLogger("idalloc.templates")

LOOK_INTERVAL: Final = 5.0
"""Seconds, at least, between two looks at the patterns: a new one is used that late."""

_SHARE: Final = 0.01  # of the time that a process may spend on these looks


_FORBIDDEN_FOR: Final = 30.0
"""Seconds until a right that was missing is tried again."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    app_tag: str
    users: frozenset[str | None]
    on_made: Callable[[], None]
    on_failed: Callable[[Exception], None]


class NewTags:
    """Begins by itself, owned by the link's thread.

    Whether a name fits a pattern is told from memory: names that somebody makes up cost the
    database nothing more.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._refill_threads = runtime.refill_threads
        self._post = runtime.post
        self._call_later = runtime.link.call_later
        self._clock = runtime.clock
        self._counters = runtime.counters.events
        self._patterns = Patterns()
        self._forbidden: StoreUnavailableError | None = None
        self._forbidden_until = 0.0
        self._waiting: list[_Wanted] | None = []
        """Who asked before the patterns were read for the first time; None from then on."""
        runtime.post(self._look)

    def make(
        self,
        app_tag: str,
        users: Iterable[str | None],
        on_made: Callable[[], None],
        on_failed: Callable[[Exception], None],
    ) -> None:
        """Make the row of a tag for one of its users; also `on_made` if somebody else has.

        Fails with TagNotFoundError if no pattern is for it, TooManyNewTagsError, or the store's
        error.
        """
        wanted = _Wanted(app_tag, frozenset(users), on_made, on_failed)
        if self._waiting is None:
            self._make(wanted)
        else:
            self._waiting.append(wanted)

    def _make(self, wanted: _Wanted) -> None:
        now = self._clock()
        try:
            choice = self._patterns.choose(wanted.app_tag, wanted.users, now)
            if self._forbidden is not None and now < self._forbidden_until:
                raise self._forbidden
        except (TagError, StoreUnavailableError) as error:
            wanted.on_failed(error)
            return

        def report(made: Any) -> None:
            self._post(lambda: self._on_made(wanted, choice, made))

        def work(store: Any) -> bool:
            made: bool = store.add_from_pattern(wanted.app_tag, choice.pattern)
            return made

        self._refill_threads.run(Job(work, report))

    def _on_made(self, wanted: _Wanted, choice: Choice, made: object) -> None:
        if isinstance(made, Exception):
            self._note_missing_right(made)
            wanted.on_failed(made)
            return
        if made:
            self._counters[Event.TAGS_MADE] += 1
            about = (wanted.app_tag, choice.pattern, choice.user)
            _log.info("Made app_tag %s after the pattern %s, for %s", *about)
        wanted.on_made()

    def _note_missing_right(self, error: Exception) -> None:
        """Do not try again soon: each such failure costs a connection."""
        if isinstance(error, StoreUnavailableError) and error.reason is StoreReason.ACCESS_DENIED:
            self._forbidden, self._forbidden_until = error, self._clock() + _FORBIDDEN_FOR
            _log.error("App tags cannot be made: grant INSERT on the table to the worker's user")

    def _look(self) -> None:
        began = self._clock()

        def report(found: Any) -> None:
            self._post(lambda: self._on_found(found, began))

        self._refill_threads.run(Job(lambda store: store.templates(), report))

    def _on_found(self, found: Templates | Exception, began: float) -> None:
        waiting = self._waiting or []
        if isinstance(found, Exception):  # what is known stays known
            self._waiting = None if self._waiting is None else []
            for wanted in waiting:
                wanted.on_failed(found)
        else:
            self._waiting = None
            self._patterns.replace(found.patterns)
            for wanted in waiting:
                self._make(wanted)
        pause = max(LOOK_INTERVAL, (self._clock() - began) / _SHARE)
        self._call_later(pause * (0.9 + 0.1 * random.random()), self._look)  # noqa: S311
