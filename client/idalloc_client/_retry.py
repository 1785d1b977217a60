"""What is done about an answer that means "not now": when to ask again, and what is told at last.

Pure: times are monotonic seconds, and come in. Calls, leases and health follow the same rule.
"""

from typing import Final, NamedTuple, Self

from idalloc_client._errors import (
    BusyError,
    CallTimeoutError,
    IdAllocError,
    NoAvailableIdError,
    ShuttingDownError,
    fresh,
)

SHORTEST: Final = 0.1
"""Seconds of the first pause, where the answer asks for less."""

LAST_CHANCE: Final = 0.05
"""Seconds of a caller's time within which no further attempt comes back."""

_CAP: Final = 1.0  # seconds up to which pauses grow, unless the answer asks for more
_MOST_DOUBLINGS: Final = 10


def can_pass(error: IdAllocError) -> bool:
    """Whether the same call may get ids later: the answer says when, or another worker may."""
    if isinstance(error, NoAvailableIdError | BusyError):
        return error.retry_after is not None
    return isinstance(error, ShuttingDownError)


class Pause(NamedTuple):
    """When to ask again: between these two, in seconds from now."""

    earliest: float
    latest: float


class Refusals(NamedTuple):
    """The answers that one caller got so far; each one makes a new object."""

    error: IdAllocError
    """The last one."""
    times: int
    first_at: float
    last_at: float

    @classmethod
    def after(cls, before: Self | None, error: IdAllocError, now: float) -> Self:
        """Note one more answer; without its traceback, which holds on to whoever was asked for."""
        error.__traceback__ = None
        if before is None or not before.times:
            return cls(error, 1, now, now)
        return cls(error, before.times + 1, before.first_at, now)

    @classmethod
    def of_several(cls, error: IdAllocError, now: float) -> Self:
        """Note an answer to a request for more callers, which does not count as one's own."""
        error.__traceback__ = None
        return cls(error, 0, now, now)

    def pause(self, remaining: float, jitter: float) -> Pause | None:
        """Say when to ask again with so many seconds left; None if that would be too late.

        It doubles with each answer, so that an outage is not hammered at, and `jitter`, from
        [0, 1), keeps clients apart. Who has less time rests for half of it.
        """
        asked_for = getattr(self.error, "retry_after", None) or 0.0
        doubled = max(asked_for, SHORTEST) * (1 << min(self.times - 1, _MOST_DOUBLINGS))
        pause = min(doubled, max(asked_for, _CAP))
        latest = pause * (1.1 + 0.4 * jitter)
        if latest + LAST_CHANCE <= remaining:
            return Pause(pause, latest)
        if remaining <= LAST_CHANCE:
            return None
        return Pause(remaining * 3 / 8, remaining / 2)

    def at_last(self) -> IdAllocError:
        """Make the error for a caller whose time is over; its cause is the last answer."""
        seconds = self.last_at - self.first_at
        often = f"{self.times} times in {seconds:.1f} s" if self.times > 1 else "once"
        told = fresh(self.error)
        told.args = (f"{self.error}; refused {often}",)
        told.__cause__ = self.error
        return told


def overdue_after(refusals: Refusals | None, error: IdAllocError) -> IdAllocError:
    """Say why a call ends at its deadline: who was answered before hears the answer.

    `error` says why the last attempt brought nothing. A connection that is lost, or a queue that
    is full, is the news; that no reply came in time is not.
    """
    if refusals is not None and type(error) is CallTimeoutError:
        return refusals.at_last()
    return error
