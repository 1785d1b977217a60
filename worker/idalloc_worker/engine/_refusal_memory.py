"""Remembers for a short while why tags that never had a segment were refused."""

from collections import OrderedDict
from dataclasses import dataclass, replace

from idalloc_worker.engine._effects import Denial, Redirected
from idalloc_worker.engine._pool import TagPool

_Key = str | tuple[str, str | None]
"""A tag, or a tag and the one user who is refused it."""


@dataclass(frozen=True, slots=True)
class _Remembered:
    until: float
    refusal: Denial
    failures: int


class RefusalMemory:
    """Bounded: past `limit` tags the oldest is forgotten. Owned by the engine."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._refusals: OrderedDict[_Key, _Remembered] = OrderedDict()

    def __len__(self) -> int:
        return len(self._refusals)

    def remember(self, app_tag: _Key, refusal: Denial, until: float, failures: int) -> None:
        """Keep a refusal, and how many refills in a row had failed by then."""
        self._refusals[app_tag] = _Remembered(until, refusal, failures)
        while len(self._refusals) > self._limit:
            self._refusals.popitem(last=False)

    def remember_for(self, pool: TagPool, refusal: Denial, until: float) -> None:
        """Keep a refusal that is only for the users for whom a refill was tried last."""
        for user in pool.asked_by:
            self.remember((pool.app_tag, user), refusal, until, 0)

    def in_force_for(self, app_tag: str, user: str | None, now: float) -> Denial | None:
        """Tell why a user is refused a tag, as all are or as this one is."""
        if not self._refusals:
            return None
        return self.in_force(app_tag, now) or self.in_force((app_tag, user), now)

    def in_force(self, app_tag: _Key, now: float) -> Denial | None:
        """Tell why a tag is refused, with the time that is left of it."""
        remembered = self._refusals.get(app_tag)
        if remembered is None:
            return None
        refusal = remembered.refusal
        if now < remembered.until:
            if isinstance(refusal, Redirected) or refusal.retry_after is None:
                return refusal
            return replace(refusal, retry_after=remembered.until - now)
        if not remembered.failures:
            del self._refusals[app_tag]
        return None

    def forget(self, app_tag: str) -> int:
        """Drop a tag and return its failures in a row: an outage goes on, and so does its pause."""
        remembered = self._refusals.pop(app_tag, None)
        return remembered.failures if remembered else 0
