"""Has the I/O thread show that it turns, and whether the process serves, for those who probe it."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from idalloc_worker._vitals import BEAT, CONNECTED, CONSUMING, DATABASE, Vitals
from idalloc_worker.counters import Counters
from idalloc_worker.process._notifier import Notifier


@dataclass(frozen=True, slots=True)
class Place:
    """A process's place in its group: its number from 1, and where it shows that it runs."""

    number: int
    vitals: Vitals
    notifier: Notifier


class Pulse:
    """Belongs to the I/O thread, on which `later` calls back; `beat` begins it."""

    def __init__(
        self,
        place: Place,
        counters: Counters,
        later: Callable[[float, Callable[[], None]], object],
    ) -> None:
        self._place = place
        self._counters = counters
        self._later = later
        self._answers = 0
        self._database_at = 0.0

    def beat(self) -> None:
        """Write it down, and do so again and again."""
        counters = self._counters
        if counters.database_answers != self._answers:
            self._answers = counters.database_answers
            self._database_at = time.monotonic()
        flags = CONNECTED * counters.connected
        flags |= CONSUMING * counters.consuming
        flags |= DATABASE * (counters.database_reachable is not False)
        self._place.vitals.beat(self._place.number, flags, self._database_at)
        self._place.notifier.tick()
        self._later(BEAT, self.beat)
