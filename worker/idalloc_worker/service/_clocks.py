"""Notices that the process was away: restored from a snapshot, or its machine was suspended.

The monotonic clock goes on where it was, the wall clock does not: one jumps against the other.
"""

import time
from collections.abc import Callable
from typing import Final

JUMP: Final = 1.0
"""Seconds between two looks that are no clock's drift: NTP slews by at most 0.5 ms a second."""


class ClockWatch:
    """Owned by one thread. Looks are to be frequent: what lies between two of them is compared."""

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._offset = wall() - monotonic()

    def jumped(self) -> float:
        """Tell by how many seconds the clocks moved apart since the last look; 0.0 if by few."""
        offset = self._wall() - self._monotonic()
        jump, self._offset = offset - self._offset, offset
        return jump if abs(jump) > JUMP else 0.0
