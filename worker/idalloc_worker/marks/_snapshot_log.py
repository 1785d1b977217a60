"""Knows how far back in the stream of marks the last whole snapshot begins, and when one is due.

A snapshot is a series of `Marks` messages, told to all, whose parts count from 0. Pure: the fleet
tells it what it hears, from the stream and from its own queue alike.
"""

import random
from collections.abc import Callable
from math import inf
from typing import Final

from idalloc_schemas import Marks

EVERY: Final = 10_000
"""Messages after which another snapshot is due, at least; up to half as many more, by chance, as
one snapshot of one worker is enough."""

_EVERY_PART: Final = 20
"""Messages for each part of the last one: what is known of many tags is written less often."""

_IDLE: Final = 25  # what a message counts for that a fleet sends every minute or two
_MAX_UNFINISHED: Final = 1000


class SnapshotLog:
    """Counts messages from the beginning of the last whole snapshot on."""

    def __init__(self, jitter: Callable[[], float] = random.random) -> None:
        self._jitter = jitter
        self._total = 0
        self._whole_at = -inf
        self._due_after = self._next_due(0)
        self._parts: dict[str, tuple[int, int]] = {}  # by worker: the next one, and where it began

    @property
    def since(self) -> float:
        """How many messages there were since it began; infinite where none was seen."""
        return self._total - self._whole_at

    @property
    def whole(self) -> bool:
        """Whether a whole snapshot was seen."""
        return self._whole_at > -inf

    @property
    def due(self) -> bool:
        """Whether it is time for another one; the first one is not a matter of time."""
        return self.whole and self.since > self._due_after

    def heard(self, *, idle: bool = False) -> None:
        """Count a message. Where no other ones come, a snapshot is due twice a day or so."""
        self._total += _IDLE if idle else 1

    def heard_part(self, message: Marks) -> None:
        """Count a part of a snapshot in."""
        worker, part = message.worker, message.part
        if part is None:
            return
        expected, began = self._parts.pop(worker, (0, self._total))
        if part == 0:
            expected, began = 0, self._total
        if part != expected:
            return
        if message.more:
            if len(self._parts) >= _MAX_UNFINISHED:
                self._parts.clear()
            self._parts[worker] = part + 1, began
        else:
            self._whole_at = began
            self._due_after = self._next_due(part + 1)

    def _next_due(self, parts: int) -> float:
        return (EVERY + parts * _EVERY_PART) * (1 + self._jitter() / 2)
