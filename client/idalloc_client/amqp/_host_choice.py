"""Decides which of several hosts to try next, brokers or databases: health and order, no I/O."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Final

from idalloc_client.amqp._backoff import Backoff

FIRST_REST: Final = 0.1
LONGEST_REST: Final = 1.0
LATELY: Final = 30.0
"""Seconds for which a host that failed is tried after those that did not."""


MOST_STALLS: Final = 2
"""Writes in a row that may hang before a host is left: one may be bad luck, and costs ids."""


@dataclass(slots=True)
class _Health:
    backoff: Backoff
    noted_at: float = -inf  # when an attempt last ended, well or not
    failed_at: float = -inf  # -inf after a success
    resume_at: float = -inf
    wrote_at: float = -inf  # when a write last ended, well or not
    doubted: bool = False  # whether its last write failed, so that a login proves nothing
    stalls: int = 0  # writes in a row that hung


class HostChoice:
    """The health of each host, and the one in use. Hosts are numbers, in the order of preference.

    The host in use stays in use until it fails, also if one that is preferred comes back: between
    two hosts that both take writes, each change is a chance to reserve the same ids again.

    Times are monotonic seconds. `jitter` gives a number from 0 to 1.
    """

    def __init__(self, count: int, jitter: Callable[[], float] = random.random) -> None:
        self._hosts = [
            _Health(Backoff(FIRST_REST, LONGEST_REST, jitter=jitter)) for _ in range(count)
        ]
        self._current: int | None = None

    @property
    def current(self) -> int | None:
        """The host in use."""
        return self._current

    def in_use(self, number: int) -> bool:
        """Whether a connection to this host may still be used."""
        if self._current is None:
            return not self._hosts[number].doubted
        return number == self._current

    def order(self, now: float) -> tuple[int, ...]:
        """List the hosts to try, best first; those that rest after a failure are left out.

        First the one in use, then those that are well, then those that failed lately.
        """
        awake = [number for number, host in enumerate(self._hosts) if host.resume_at <= now]
        return tuple(sorted(awake, key=lambda number: self._rank(number, now)))

    def rest(self, now: float) -> float:
        """Say for how many seconds all hosts rest; 0 if one can be tried."""
        return max(min(host.resume_at for host in self._hosts) - now, 0.0)

    def failures(self, number: int) -> int:
        """Say how many attempts in a row a host has failed."""
        return self._hosts[number].backoff.failures

    def worked(self, number: int, now: float) -> bool:
        """Note that a host says that it takes writes; tell whether it is the one to use."""
        host = self._hosts[number]
        host.noted_at = now
        if not host.doubted:
            _recover(host)
        if self._current is None:
            self._current = number
        return self._current == number

    def failed(self, number: int, began: float, now: float) -> None:
        """Note that a host failed in an attempt that began at `began`.

        Attempts that ran side by side count once: what began before the last one ended says nothing
        that is not known.
        """
        if began >= self._hosts[number].noted_at:
            self._leave(number, now)

    def wrote(self, number: int, now: float) -> None:
        """Note that a host has taken a write."""
        host = self._hosts[number]
        host.wrote_at, host.stalls = now, 0
        if host.doubted:
            host.doubted = False
            _recover(host)

    def refused(self, number: int, began: float, now: float) -> bool:
        """Note that a host failed a write that began at `began`; tell whether it is left.

        However well its logins go, it rests longer each time, until it has taken a write.
        """
        host = self._hosts[number]
        if began < host.wrote_at:
            return False
        host.wrote_at, host.stalls, host.doubted = now, 0, True
        self._leave(number, now)
        return True

    def stalled(self, number: int, began: float, now: float) -> bool:
        """Note that a write got no answer; tell whether the host is left for that."""
        host = self._hosts[number]
        if began < host.wrote_at:
            return False
        if host.stalls + 1 >= MOST_STALLS:
            return self.refused(number, began, now)
        host.wrote_at = now
        host.stalls += 1
        return False

    def locked_out(self, number: int, began: float, now: float) -> bool:
        """Note that a lock was in the way; tell whether the host is left for that.

        After a write that hung it may be that one's lock, so that no further write hangs. Else it
        is a matter of one row.
        """
        return self._hosts[number].stalls > 0 and self.stalled(number, began, now)

    def _leave(self, number: int, now: float) -> None:
        host = self._hosts[number]
        host.noted_at = host.failed_at = now
        host.resume_at = now + host.backoff.next_delay()
        if self._current == number:
            self._current = None

    def _rank(self, number: int, now: float) -> tuple[bool, bool]:
        failed_lately = now < self._hosts[number].failed_at + LATELY
        return number != self._current, failed_lately


def _recover(host: _Health) -> None:
    host.failed_at = host.resume_at = -inf
    host.backoff.reset()
