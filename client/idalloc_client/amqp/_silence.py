"""Tells when a broker that is connected says nothing any more: it is frozen, or the network cut."""

import math
from typing import Final

LOOK_EVERY: Final = 1.0
"""Seconds between two looks."""


class SilenceWatch:
    """Counts looks at which nothing new had come, not even a heartbeat.

    A broker sends something once in `heartbeat` seconds at the latest: it looks twice in that time
    whether it has. pika gives it up to twice as long and ten seconds more. Looks are counted
    instead of seconds, so that a process that was itself frozen blames nobody.
    """

    def __init__(self, heartbeat: int) -> None:
        self._most = math.ceil(1.5 * heartbeat / LOOK_EVERY)
        self._silent = 0
        self._received = -1

    def silent(self, received: int) -> bool:
        """Look at how many bytes have come so far; True if nothing came for too long."""
        self._silent = self._silent + 1 if received == self._received else 0
        self._received = received
        return self._silent >= self._most
