"""Tells who sends requests to the queue of a partition without measure.

Others' requests stand in that queue too, so it has to be emptied faster than anybody can fill it,
and it is the broker that then lacks the time: each answer costs it as much as each request. Who
sent a flood hears nothing of most of it; an honest caller asks any worker again after a moment, and
leaves this way for a while.
"""

from collections.abc import Callable
from math import inf
from typing import Final

WINDOW: Final = 0.25  # seconds

MOST: Final = 750
"""Requests of one user that are read in a window: it may have many tags, or processes."""

_OF_FLOOD: Final = 75
"""Those that are read in each window that follows, until no more than `_CALM` come in one."""

_CALM: Final = 250


class FloodGuard:
    """For one worker, with all its partitions; `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._window_ends = -inf
        self._came: dict[bytes | None, int] = {}
        """Requests in this window, by user."""
        self._floods: set[bytes | None] = set()
        """Users who sent too many in a window before this one."""

    def refuses(self, user: bytes | None) -> bool:
        """Count a request that came; whether it is to be thrown away unread."""
        now = self._clock()
        if now >= self._window_ends:
            self._floods = {each for each, came in self._came.items() if came > self._most(each)}
            self._came.clear()
            self._window_ends = now + WINDOW
        came = self._came[user] = self._came.get(user, 0) + 1
        return came > (_OF_FLOOD if user in self._floods else MOST)

    def _most(self, user: bytes | None) -> int:
        return _CALM if user in self._floods else MOST
