"""Answers those who ask a worker for all of its tags: together, and without holding others up.

One answer serves all who asked before it was begun, and nobody who asked later: they are told what
had happened when they asked. It is made in slices and encoded once.
"""

import logging
from collections.abc import Callable, Generator

_log = logging.getLogger("idalloc.worker")

Body = bytes | None
"""An answer; None if it could not be made."""

Waiter = Callable[[Body], None]


class HealthAnswers:
    """Owned by the link's thread. `make` makes an answer, and pauses at each yield.

    `soon` runs a callback at the end of this turn, `later` in a following one.
    """

    def __init__(
        self,
        make: Callable[[], Generator[None, None, bytes]],
        soon: Callable[[Callable[[], None]], None],
        later: Callable[[float, Callable[[], None]], object],
    ) -> None:
        self._make = make
        self._soon = soon
        self._later = later
        self._waiting: list[Waiter] = []
        self._busy = False
        self._on_idle: Callable[[], None] | None = None

    def ask(self, waiter: Waiter) -> None:
        """Have `waiter` called with an answer that is begun from now on."""
        self._waiting.append(waiter)
        if not self._busy:
            self._busy = True
            self._soon(self._begin)

    def when_idle(self, on_idle: Callable[[], None]) -> None:
        """Call `on_idle` once nobody waits any more."""
        if self._busy:
            self._on_idle = on_idle
        else:
            on_idle()

    def _begin(self) -> None:
        waiting, self._waiting = self._waiting, []
        self._go_on(self._make(), waiting)

    def _go_on(self, steps: Generator[None, None, bytes], waiting: list[Waiter]) -> None:
        try:
            next(steps)
        except StopIteration as end:
            self._tell(waiting, end.value)
        except Exception:  # noqa: BLE001  # those who come later are to be answered
            _log.exception("A report on all tags failed")
            self._tell(waiting, None)
        else:
            self._later(0.0, lambda: self._go_on(steps, waiting))

    def _tell(self, waiting: list[Waiter], body: Body) -> None:
        if self._waiting:
            self._later(0.0, self._begin)
        else:
            self._busy = False
        for waiter in waiting:
            waiter(body)
        if not self._busy and self._on_idle is not None:
            on_idle, self._on_idle = self._on_idle, None
            on_idle()
