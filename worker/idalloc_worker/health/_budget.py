"""Bounds what questions about health may cost: the bytes of their answers, by user and in all.

An answer is many times its question, and may go to a queue that nobody reads. Who asks for more
than its share is told so, and told that not often either; after that it hears nothing.
"""

from collections.abc import Callable
from math import inf
from typing import Final

from idalloc_worker.rights import Viewer

PER_CALL: Final = 1000
"""Bytes that a call counts for besides its answer: what the broker keeps with a message."""

_MOST_USERS: Final = 1000  # that are remembered; those who have asked for nothing lately go first


class Allowance:
    """So much per second, and what was saved of it; one purchase may overdraw it."""

    __slots__ = ("_at", "_most", "_rate", "_there")

    def __init__(self, rate: float, most: float) -> None:
        self._rate, self._most = rate, most
        self._there, self._at = most, -inf

    def spend(self, amount: float, now: float) -> None:
        """Take so much, also where it is not there."""
        self._there = self._now(now) - amount
        self._at = now

    def there(self, now: float) -> bool:
        """Whether anything may be bought."""
        return self._now(now) > 0

    def full(self, now: float) -> bool:
        """Whether nothing was bought lately."""
        return self._now(now) >= self._most

    def wait(self, now: float) -> float:
        """Tell after how many seconds something may be bought again."""
        return max(-self._now(now), 0.0) / self._rate

    def _now(self, now: float) -> float:
        return min(self._there + self._rate * (now - self._at), self._most)


class _Account:
    """What one user, or all together, may cost: `size` in bytes, `words` in refusals."""

    __slots__ = ("size", "words")

    def __init__(self, size: float, words: float) -> None:
        self.size = Allowance(size, 2 * size)
        self.words = Allowance(words, 2 * words)


def _callers_account() -> _Account:
    return _Account(200_000, 20)


class HealthBudget:
    """Owned by the link's thread. Operators have an account of their own, and a larger one."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._callers = _Account(1_000_000, 100)
        self._operators = _Account(4_000_000, 100)
        self._users: dict[str | None, _Account] = {}

    def admit(self, viewer: Viewer) -> bool:
        """Decide whether a question is answered, and count it then."""
        now = self._clock()
        there = all(account.size.there(now) for account in self._accounts(viewer))
        if there:
            self.charge(viewer, PER_CALL)
        return there

    def word(self, viewer: Viewer) -> bool:
        """Decide whether one whose question is not answered is told so, and count it then."""
        now, accounts = self._clock(), self._accounts(viewer)
        there = all(account.words.there(now) for account in accounts)
        if there:
            for account in accounts:
                account.words.spend(1, now)
        return there

    def charge(self, viewer: Viewer, size: int) -> None:
        """Count so many bytes of an answer."""
        now = self._clock()
        for account in self._accounts(viewer):
            account.size.spend(size, now)

    def wait(self, viewer: Viewer) -> float:
        """Tell after how many seconds it is worth asking again."""
        now = self._clock()
        return max(account.size.wait(now) for account in self._accounts(viewer))

    def _accounts(self, viewer: Viewer) -> tuple[_Account, ...]:
        if viewer.operator:
            return (self._operators,)
        account = self._users.get(viewer.user)
        if account is None:
            if len(self._users) >= _MOST_USERS:
                self._forget_some()
            account = self._users[viewer.user] = _callers_account()
        return self._callers, account

    def _forget_some(self) -> None:
        """Forget who has a full account, as everybody begins with, or the one known longest."""
        now = self._clock()
        for user in [user for user, one in self._users.items() if one.size.full(now)]:
            del self._users[user]
        if len(self._users) >= _MOST_USERS:
            del self._users[next(iter(self._users))]
