"""What a sequence has leased: the ids that are there, those on their way, and what went wrong.

No I/O and no waiting: `want` says what to lease, `lent` and `failed` say what came of it.
"""

import random
from collections import deque
from collections.abc import Callable, Iterator

from idalloc_client._batch import IdBatch
from idalloc_client._errors import (
    AccessRefusedError,
    CallTimeoutError,
    ClientClosedError,
    ForkedClientError,
    IdAllocError,
    NoRouteError,
    RefusedError,
    fresh,
)
from idalloc_client._memory import LeasePage
from idalloc_client._retry import LAST_CHANCE, SHORTEST, Refusals, can_pass, overdue_after
from idalloc_client._sequences._lease_size import LeaseLimits, next_lease_size
from idalloc_client._stats import LeaseCounters

_FINAL = (RefusedError, NoRouteError, AccessRefusedError, ClientClosedError, ForkedClientError)
"""Errors that somebody who waits is told at once, unless they can pass."""

_RETRY_AFTER = 0.2  # seconds, where the error does not say
_AHEAD = 2
"""Leases that are there or on their way beyond the one in use."""


class LeaseBuffer:
    """Bookkeeping of one sequence; whoever owns it serializes the calls. Times are monotonic."""

    def __init__(  # noqa: PLR0913  # each is another part of its surroundings
        self,
        limits: LeaseLimits,
        now: float,
        page: LeasePage,
        counters: LeaseCounters | None = None,
        *,
        retry: bool = True,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """`retry` says whether who waits goes on waiting where an error can pass."""
        self.page = page
        """What lets the ids out, and is to be kept with what is asked for."""
        self._limits = limits
        self._counters = counters or LeaseCounters()
        self._size = limits.floor
        self._ready: deque[range] = deque()
        self._on_their_way = 0
        self._chunk: Iterator[int] = iter(())
        self.current: Iterator[int] = iter(())
        """The ids to hand out now: the chunk's, as far as the page lets them out."""
        self._rest = range(0)  # of the range that the chunk is from
        self._taken_in = 0
        self._counted_used = 0
        self._counted_at = now
        self._rate: float | None = None
        self.error: IdAllocError | None = None
        """Why the last lease failed, until another one is asked for."""
        self._retry = retry
        self._jitter = jitter
        self._refusals: Refusals | None = None
        """What was answered since the last lease came, or since somebody was told."""
        self._retry_at = 0.0
        self.unused = 0
        """Ids that were leased and will not be handed out."""

    @property
    def remaining(self) -> int:
        """How many ids can be handed out without asking anybody."""
        return _length(self._chunk) + len(self._rest) + sum(map(len, self._ready))

    def cover(self, now: float) -> float:
        """Seconds that they last at the rate of late; infinite while nothing is used."""
        rate = self._rate
        if rate is None:
            elapsed = now - self._counted_at
            rate = self._used() / elapsed if elapsed > 0 else 0.0
        return self.remaining / rate if rate > 0 else float("inf")

    def wanted(self, now: float, *, ready: bool) -> Iterator[int]:
        """Say of each lease to ask for now how many ids it has; `ready` if some are there."""
        if now < self._retry_at and (ready or self.error is not None):
            return iter(())
        return iter(self.want, None)

    def want(self) -> int | None:
        """Say how many ids to lease now, and note that somebody does; None if none."""
        if self._on_their_way + min(len(self._ready), _AHEAD) >= _AHEAD:
            return None
        self._on_their_way += 1
        # What was wrong then says nothing about the lease that is on its way now.
        self.error = None
        return self._size

    def lent(self, ids: IdBatch, page: LeasePage) -> None:
        """Take a lease in that was asked for under a page; under an earlier one it is void."""
        self._on_their_way -= 1
        self.error = self._refusals = None
        if page is not self.page:
            self._counters.lent(len(ids))
            self._lose(len(ids))
            return
        for start, end in ids.ranges:
            self._ready.append(range(start, end))
            self._taken_in += end - start
        self._counters.lent(len(ids))

    def failed(self, error: IdAllocError, now: float) -> None:
        self._on_their_way -= 1
        self.error = error
        self._counters.failed()
        if not self._can_pass(error):
            self._retry_at = now + (getattr(error, "retry_after", None) or _RETRY_AFTER)
        elif self._refusals is None or now >= self._retry_at:
            self._refusals = Refusals.after(self._refusals, error, now)
            pause = self._refusals.pause(float("inf"), self._jitter())
            self._retry_at = now + (pause.latest if pause else _RETRY_AFTER)

    def wait_until(self, deadline: float, now: float) -> float:
        """Say until when somebody waits who finds no ids, before it asks again.

        Where the pause ends too late for that, half of the time that is left.
        """
        if self._retry_at <= now:
            return deadline
        if self._retry_at > deadline - LAST_CHANCE:
            early = now + max((deadline - now) / 2, SHORTEST)
            if early < deadline - LAST_CHANCE:
                self._retry_at = early
        return min(deadline, self._retry_at)

    def raise_if_final(self, overdue: Callable[[], IdAllocError] | None = None) -> None:
        """Tell somebody who waits what it hears at once; all else where its time is over.

        `overdue` is given then, and says why nothing came. The next call tries again.
        """
        error = self.error
        if overdue is not None:
            error = self._at_deadline(error or overdue())
        elif error is None or not isinstance(error, _FINAL) or self._can_pass(error):
            return
        self._retry_at = 0.0
        self.error = self._refusals = None
        raise fresh(error)

    def _can_pass(self, error: IdAllocError) -> bool:
        return self._retry and can_pass(error)

    def _at_deadline(self, error: IdAllocError) -> IdAllocError:
        if self._refusals is not None and self._can_pass(error):
            return self._refusals.at_last()
        return overdue_after(self._refusals, error)

    def turn_page(self, now: float) -> bool:
        """Go on with the next ids if the current ones are used up; False if there are none."""
        if _length(self._chunk):
            return True
        if not self._rest:
            if not self._ready:
                return False
            self._measure(now)
            self._rest = self._ready.popleft()
        size = self.page.size
        chunk, self._rest = self._rest[:size], self._rest[size:]
        self._chunk = iter(chunk)
        self.current = self.page.guard(self._chunk)
        return True

    def give_up(self) -> None:
        """Hand out nothing more; what is left counts as unused."""
        given_up = len(self._rest) + sum(map(len, self._ready))
        self._rest = range(0)
        self._ready.clear()
        # One by one: another thread may take some of them at this moment.
        given_up += sum(1 for _ in self._chunk)
        self._lose(given_up)

    def start_page(self, page: LeasePage) -> None:
        """Give up what an earlier page let out: what is leased from now on goes by this one."""
        if page is not self.page:
            self.page = page
            self.give_up()

    def _lose(self, ids: int) -> None:
        self.unused += ids
        self._counters.gave_up(ids)

    def _used(self) -> int:
        return self._taken_in - self.remaining - self._counted_used

    def _measure(self, now: float) -> None:
        used, seconds = self._used(), now - self._counted_at
        if used <= 0:
            self._counted_at = now  # the time before the first id says nothing
            return
        self._rate = used / seconds if seconds > 0 else None
        self._size = next_lease_size(self._limits, self._size, used, seconds)
        self._counted_used += used
        self._counted_at = now


def no_lease_in_time() -> IdAllocError:
    """Say that no lease came, where nobody knows more."""
    return CallTimeoutError("no ids could be leased in time")


def _length(ids: Iterator[int]) -> int:
    return int(ids.__length_hint__())  # type: ignore[attr-defined]  # range and tuple iterators
