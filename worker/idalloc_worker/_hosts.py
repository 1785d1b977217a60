"""Decides which of several database hosts to try next: health and order, without any I/O."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Final

from idalloc_client._backoff import Backoff

FIRST_REST: Final = 0.1
LONGEST_REST: Final = 1.0
LATELY: Final = 30.0
"""Seconds for which a host that failed is tried after those that did not."""


@dataclass(slots=True)
class _Health:
    backoff: Backoff
    noted_at: float = -inf  # when an attempt last ended, well or not
    failed_at: float = -inf  # -inf after a success
    resume_at: float = -inf


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

    def order(self, now: float) -> tuple[int, ...]:
        """List the hosts to try, best first; those that rest after a failure are left out.

        First the one in use, then those that are well, then those that failed lately.
        """
        awake = [number for number, host in enumerate(self._hosts) if host.resume_at <= now]
        return tuple(sorted(awake, key=lambda number: self._rank(number, now)))

    def worked(self, number: int, now: float) -> bool:
        """Note that a host takes writes; say whether it is the one to use."""
        host = self._hosts[number]
        host.noted_at, host.failed_at, host.resume_at = now, -inf, -inf
        host.backoff.reset()
        if self._current is None:
            self._current = number
        return self._current == number

    def failed(self, number: int, began: float, now: float) -> None:
        """Note that a host failed in an attempt that began at `began`.

        Attempts that ran side by side count once: what began before the last one ended says nothing
        that is not known.
        """
        host = self._hosts[number]
        if began < host.noted_at:
            return
        host.noted_at = host.failed_at = now
        host.resume_at = now + host.backoff.next_delay()
        if self._current == number:
            self._current = None

    def _rank(self, number: int, now: float) -> tuple[bool, bool]:
        failed_lately = now < self._hosts[number].failed_at + LATELY
        return number != self._current, failed_lately
