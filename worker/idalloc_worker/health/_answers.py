"""Answers those who ask a worker for all of its tags: together, and without holding others up.

One answer serves all who asked before it was begun. It is made in slices, and after it the worker
rests twenty times as long as it took, so that questions take a twentieth of its time at most. Who
asks in that pause, a second at the longest, is told the same again and how old it is.
"""

import logging
import time
from collections.abc import Callable, Collection, Generator, Mapping
from typing import Final

from idalloc_worker.rights import Viewer

_log = logging.getLogger("idalloc.worker")

Body = bytes | None
"""An answer; None if it could not be made."""

Waiter = Callable[[Body], None]

Bodies = Generator[None, None, Mapping[Viewer, bytes]]

REST: Final = 20.0
"""Times as long as an answer took to make."""

SHARED: Final = 1.0
"""Seconds since it was begun for which an answer is shared at most."""

_WORTH: Final = 0.001
"""Seconds of work below which an answer is made anew for everybody: it costs as much to send."""


class HealthAnswers:
    """Owned by the link's thread. `make` makes the answers to some, and pauses at each yield.

    `soon` runs a callback at the end of this turn, `later` in a following one. `cpu` tells how long
    this thread has worked, however busy the machine is.
    """

    def __init__(  # its loop and its clocks
        self,
        make: Callable[[Collection[Viewer]], Bodies],
        soon: Callable[[Callable[[], None]], None],
        later: Callable[[float, Callable[[], None]], object],
        *,
        clock: Callable[[], float] = time.monotonic,
        cpu: Callable[[], float] = time.thread_time,
    ) -> None:
        self._make = make
        self._soon = soon
        self._later = later
        self._clock = clock
        self._cpu = cpu
        self._waiting: list[tuple[Viewer, Waiter]] = []
        self._busy = False  # from the first who waits until nobody does
        self._making = False
        self._spent = 0.0
        self._begun = self._rests_until = 0.0
        self._made: Mapping[Viewer, bytes] = {}
        self._on_idle: Callable[[], None] | None = None

    def ask(self, viewer: Viewer, waiter: Waiter) -> None:
        """Have `waiter` called with an answer that is begun from now on, or with a recent one."""
        now = self._clock()
        made = self._made.get(viewer) if now < self._rests_until else None
        if made is not None and not self._making:
            waiter(_aged(made, now - self._begun))
            return
        self._waiting.append((viewer, waiter))
        if not self._busy:
            self._busy = True
            self._begin_when_rested()

    def when_idle(self, on_idle: Callable[[], None]) -> None:
        """Call `on_idle` once nobody waits any more; there is no rest before that."""
        if self._busy:
            self._on_idle, self._rests_until = on_idle, 0.0
            self._later(0.0, self._begin)
        else:
            on_idle()

    def _begin_when_rested(self) -> None:
        pause = self._rests_until - self._clock()
        if pause > 0:
            self._later(pause, self._begin)
        else:
            self._soon(self._begin)

    def _begin(self) -> None:
        if self._making or not self._waiting:
            return  # it was begun without a rest, because somebody waits for the end of it
        self._making, self._spent, self._begun = True, 0.0, self._clock()
        waiting, self._waiting = self._waiting, []
        self._go_on(self._make({viewer for viewer, _ in waiting}), waiting)

    def _go_on(self, steps: Bodies, waiting: list[tuple[Viewer, Waiter]]) -> None:
        began = self._cpu()
        try:
            next(steps)
        except StopIteration as end:
            self._spent += self._cpu() - began
            self._end(end.value, waiting)
        except Exception:  # noqa: BLE001  # those who come later are to be answered
            _log.exception("A report on all tags failed")
            self._end({}, waiting)
        else:
            self._spent += self._cpu() - began
            self._later(0.0, lambda: self._go_on(steps, waiting))

    def _end(self, made: Mapping[Viewer, bytes], waiting: list[tuple[Viewer, Waiter]]) -> None:
        self._making, self._made = False, made
        self._rest()
        self._busy = bool(self._waiting)
        if self._busy:
            self._later(max(self._rests_until - self._clock(), 0.0), self._begin)
        for viewer, waiter in waiting:
            waiter(made.get(viewer))
        if not self._busy and self._on_idle is not None:
            on_idle, self._on_idle = self._on_idle, None
            on_idle()

    def _rest(self) -> None:
        if self._spent < _WORTH or self._on_idle is not None:
            self._rests_until, self._made = 0.0, {}
        else:
            self._rests_until = min(self._clock() + REST * self._spent, self._begun + SHARED)


def _aged(body: bytes, seconds: float) -> bytes:
    """Add to an answer, which is a JSON object, how old it is."""
    return b'%s,"age_ms":%d}' % (body[:-1], round(seconds * 1000))
