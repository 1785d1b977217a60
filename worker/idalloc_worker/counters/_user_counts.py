"""Counts by user, of whom there may be any number, with names of any kind."""

from collections import Counter
from typing import Final

MOST_USERS: Final = 32
NOBODY: Final = "(no user_id)"
OTHERS: Final = "(all others)"
_LONGEST: Final = 64  # characters


class UserCounts:
    """Owned by one thread. The first users to be counted have a count of their own."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, user: str | None) -> None:
        """Count one for a user, whom the broker vouches for."""
        name = NOBODY if user is None else user[:_LONGEST]
        if name not in self._counts and len(self._counts) >= MOST_USERS:
            name = OTHERS
        self._counts[name] += 1

    def by_user(self) -> dict[str, int]:
        """Tell the counts so far."""
        return dict(self._counts)
