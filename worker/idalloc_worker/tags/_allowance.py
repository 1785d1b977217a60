"""How many ids one user may draw from one tag: in one request, and in a second.

Pure. Each user has two token buckets for each tag, one for requests of few ids and one for all
others, so that too many batches do not stop single ids. A bucket may go into debt: whoever owes
nothing gets what it asks for, and owes that. So a batch now and then is never refused, however
large, and what is drawn in the long run is the rate.

Each worker process counts by itself.
"""

from dataclasses import dataclass
from typing import Final

from idalloc_worker.tags._settings import TagSettings

FEW: Final = 100
"""Ids of a request that counts as one for few."""

_DAY: Final = 86_400.0
"""Seconds that one user needs, at the default rate, to draw most of what is left of a large tag."""

_HOUR: Final = 3600.0
"""Seconds that it needs at least, where a step is much of what is left."""

_LEAST_RATE: Final = 100.0
"""Ids per second. A tag of some thousand ids is not defended by a rate, but by `allowed_users`."""

_SHARE_OF_REST: Final = 10
"""One request gets at most this part of the ids that are left, or a step if that is more."""

_LEAST_COUNT: Final = 1000
"""Ids that one request may ask for by default, however few are left."""

_SAVED: Final = 60.0
"""Seconds at the rate that a user who drew nothing may draw at once without a debt."""

_MOST_REQUESTS: Final = 100_000
"""Requests per second, more than one process serves: a rate that allows so many limits nobody."""

_MOST_USERS: Final = 64
"""Users of a tag with buckets of their own; all others share one pair, whose name no user has."""

_OTHERS: Final = "\N{REPLACEMENT CHARACTER} others"


@dataclass(frozen=True, slots=True)
class DrawLimits:
    """What a tag's settings and the rest of its ids come to."""

    max_count: int
    """Ids for one request."""
    rate: float
    """Ids per second for one user."""

    @classmethod
    def of(cls, settings: TagSettings, space: int, max_count: int) -> "DrawLimits":
        """Work them out; `space` ids are left, and a worker gives `max_count` at once at most."""
        step = settings.step
        most = settings.max_count or max(step, space // _SHARE_OF_REST, _LEAST_COUNT)
        rate = settings.user_rate or max(space / _DAY, min(step, space / _HOUR), _LEAST_RATE)
        return cls(min(most, max_count), float(rate))

    @property
    def unmetered(self) -> int:
        """How large a request may be that need not be counted: no process serves so many."""
        if self.rate >= _MOST_REQUESTS * self.max_count:
            return self.max_count
        return min(FEW, self.max_count) if self.rate >= _MOST_REQUESTS * FEW else 0


class Allowance:
    """The buckets of one tag. Of each is kept when its debt will be paid: `now` or before, none."""

    __slots__ = ("_paid_at", "rate")

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._paid_at: dict[tuple[str | None, bool], float] = {}

    def __len__(self) -> int:
        """How many buckets there are."""
        return len(self._paid_at)

    def debt(self, user: str | None, count: int, now: float) -> float:
        """Tell in how many seconds a user may draw again; 0 if it may now."""
        return max(self._paid_at.get(self._bucket(user, count, now), 0.0) - now, 0.0)

    def charge(self, user: str | None, count: int, now: float) -> None:
        """Note what a user draws."""
        bucket = self._bucket(user, count, now)
        begin = max(self._paid_at.get(bucket, 0.0), now - _SAVED)
        self._paid_at[bucket] = begin + count / self.rate

    def _bucket(self, user: str | None, count: int, now: float) -> tuple[str | None, bool]:
        bucket = (user, count <= FEW)
        if bucket not in self._paid_at and len(self._paid_at) >= 2 * _MOST_USERS:
            # One that was not drawn from for so long is as good as none.
            full = [key for key, paid_at in self._paid_at.items() if paid_at <= now - _SAVED]
            for key in full:
                del self._paid_at[key]
            if not full:
                return (_OTHERS, count <= FEW)
        return bucket
