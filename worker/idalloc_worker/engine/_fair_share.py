"""Shares places out among users, so that there is always one for somebody who has few."""

from collections import Counter
from math import inf
from typing import Final

EQUALLY: Final = 1
COMPANY: Final = 1.0
"""Seconds for which a user counts as there after it was seen."""

THREE_TIMES: Final = 3
_MOST_PREFETCHED: Final = 65_535  # that AMQP can say


def places_for(prefetch: int) -> int:
    """Tell how many requests to take at a time so that a lone user may have `prefetch` waiting."""
    return min(prefetch + prefetch // THREE_TIMES, _MOST_PREFETCHED)


class FairShare:
    """Counts places by user; nobody vouches for those of None, who count as one user.

    A user may have `factor` times as many as there are free: alone, most of all places; beside one
    who takes what it gets, nearly as many as that one. So however much a user or two ask for, some
    places stay free for others, and nothing has to be known of how many users there are.
    """

    def __init__(self, places: int, factor: int) -> None:
        self._free = places
        self._factor = factor
        self._taken: Counter[str | None] = Counter()

    def __len__(self) -> int:
        """How many are taken."""
        return self._taken.total()

    def admits(self, user: str | None) -> bool:
        """Tell whether a user may have one more."""
        return self._taken[user] < self._factor * self._free

    def take(self, user: str | None) -> None:
        """Give a user one of the places."""
        self._free -= 1
        self._taken[user] += 1

    def leave(self, user: str | None) -> None:
        """Take a place back from a user."""
        self._free += 1
        self._taken[user] -= 1
        if not self._taken[user]:
            del self._taken[user]


class WaitingPlaces(FairShare):
    """Those of requests that wait for ids. Where no other user is there, one may have all of them.

    What is refused leaves the broker's queue, and the next one comes: a database that hangs for a
    moment would have all that a lone user asks for answered BUSY. What is not refused waits there.
    """

    def __init__(self, places: int) -> None:
        super().__init__(places, THREE_TIMES)
        self._last: object = self  # no user
        self._company_until = -inf

    def seen(self, user: str | None, now: float) -> None:
        """Note that a user asks for something."""
        if user != self._last:
            if self._last is not self:
                self._company_until = now + COMPANY
            self._last = user

    def admits_now(self, user: str | None, now: float) -> bool:
        """Tell whether a user that asks may have one more."""
        self.seen(user, now)
        return self._free > 0 if now >= self._company_until else self.admits(user)
