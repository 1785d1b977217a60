"""Looks now and then at the rows that others are made from."""

import random
from collections.abc import Callable
from typing import Any, Final

from idalloc_worker._runtime import Runtime
from idalloc_worker.store import Job, Templates

LOOK_INTERVAL: Final = 5.0
"""Seconds, at least, between two looks: what is new in the table is used that late."""

_SHARE: Final = 0.01  # of the time that a process may spend on these looks


class TemplateWatch:
    """Begins by itself, owned by the link's thread.

    `on_found` hears of each look that went well.
    """

    def __init__(self, runtime: Runtime) -> None:
        self.ready = False
        """Whether one did."""
        self.on_found: list[Callable[[Templates], None]] = []
        self._refill_threads = runtime.refill_threads
        self._post = runtime.post
        self._call_later = runtime.link.call_later
        self._clock = runtime.clock
        self._looking = False
        self._asked: list[Callable[[Exception | None], None]] = []
        """Who waits for a look that begins from now on."""
        runtime.post(self._look)

    def look_for(self, then: Callable[[Exception | None], None]) -> None:
        """Look, and call back with what went wrong; those that ask meanwhile share the next one."""
        self._asked.append(then)
        if not self._looking:
            self._begin(self._end)

    def _look(self) -> None:
        """Look because it is time; the next one follows from the end of this."""
        if self._looking:  # at somebody's wish, which serves as well
            self._later(0.0)
            return
        began = self._clock()

        def on_end(found: Templates | Exception) -> None:
            self._later(self._clock() - began)
            self._end(found)

        self._begin(on_end)

    def _later(self, took: float) -> None:
        pause = max(LOOK_INTERVAL, took / _SHARE)
        self._call_later(pause * (0.9 + 0.1 * random.random()), self._look)  # noqa: S311

    def _begin(self, on_end: Callable[[Any], None]) -> None:
        self._looking = True
        asked, self._asked = self._asked, []

        def report(found: Any) -> None:
            self._post(lambda: end(found))

        def end(found: Any) -> None:
            self._looking = False
            on_end(found)
            for then in asked:
                then(found if isinstance(found, Exception) else None)
            if self._asked and not self._looking:
                self._begin(self._end)

        self._refill_threads.run(Job(lambda store: store.templates(), report))

    def _end(self, found: Templates | Exception) -> None:
        if not isinstance(found, Exception):  # else what is known stays known
            self.ready = True
            for tell in self.on_found:
                tell(found)
