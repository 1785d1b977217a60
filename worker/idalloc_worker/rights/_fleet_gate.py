"""Lets in what workers say to each other, and nothing else: looked at before any of it is read."""

import logging
from collections.abc import Callable
from typing import Final

from idalloc_worker.counters import Event, Events, ThrottledLog
from idalloc_worker.rights._fleet_users import FleetUsers

_log = logging.getLogger("idalloc.fleet")

MAX_BYTES: Final = 256 * 1024
"""Of a message: 500 marks, of the longest names that there can be, take a third of it."""

"""Counts what came where workers speak to each other, and is from none."""


class FleetGate:
    """Owned by the link's thread."""

    def __init__(self, users: FleetUsers, counters: Events, clock: Callable[[], float]) -> None:
        self.users = users
        self._counters = counters
        self._clock = clock
        self._throttled = ThrottledLog(_log)

    def admits(self, user: bytes | None, size: int, *, from_fleet: bool) -> bool:
        """Whether to read a message that came to this worker's queue.

        Where nobody knows how the broker calls a worker, echoes have to pass: they carry a secret.
        """
        users = self.users
        if not users.admits(user, from_fleet=from_fleet) and (from_fleet or users.known):
            self.note_foreign()
            return False
        return self._is_short(size)

    def admits_stored(self, user: bytes | None, size: int, *, from_fleet: bool) -> bool:
        """Whether to read a message in the stream, where callers may have put a great many."""
        return self.users.admits(user, from_fleet=from_fleet) and self._is_short(size)

    def note_foreign(self) -> None:
        """Count a message that no worker sent."""
        self._counters[Event.FOREIGN_MESSAGES] += 1
        self._throttled.warning(
            self._clock(),
            "foreign",
            "Ignored a message that no worker sent to this one's queue: does a caller try what it "
            "should not? If it was a worker, name its user in IDALLOC_FLEET_USERS",
        )

    def _is_short(self, size: int) -> bool:
        self._counters[Event.FLEET_INVALID] += size > MAX_BYTES
        return size <= MAX_BYTES
