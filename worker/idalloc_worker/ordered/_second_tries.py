"""Requests that their queue did not take, and that are passed on again.

Perhaps a caller is filling it, or a worker that starts is about to declare it. Each is tried for
two seconds, and not too many at a time: past that, the answer is an error at once.
"""

import random
from collections.abc import Callable
from typing import Final

from idalloc_worker.requests import Delivery

LONGEST: Final = 2.0  # seconds, as for a refill
MOST: Final = 500
"""A quarter of what a worker takes from the broker at a time: others are not to wait for these."""

_PAUSE: Final = 0.05  # seconds


class SecondTries:
    """Owned by the link's thread; `pass_on` is called again for each that is admitted."""

    def __init__(
        self,
        later: Callable[[float, Callable[[], None]], object],
        clock: Callable[[], float],
        pass_on: Callable[[Delivery], None],
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._later = later
        self._clock = clock
        self._pass_on = pass_on
        self._jitter = jitter
        self._since: dict[Delivery, float] = {}

    def __len__(self) -> int:
        return len(self._since)

    def admits(self, delivery: Delivery) -> bool:
        """Take a request that its queue refused; False if its caller is to be told."""
        now = self._clock()
        pause = _PAUSE * (0.5 + self._jitter())
        since = self._since.get(delivery, now)
        full = delivery not in self._since and len(self._since) >= MOST
        if full or now + pause - since > LONGEST or now + pause >= delivery.deadline:
            self.forget(delivery)
            return False
        self._since[delivery] = since

        def again() -> None:
            if self._since.get(delivery) == since:  # else its connection is lost
                self._pass_on(delivery)

        self._later(pause, again)
        return True

    def forget(self, delivery: Delivery) -> None:
        """Have done with one."""
        self._since.pop(delivery, None)

    def clear(self) -> None:
        """Have done with all: the broker delivers them anew."""
        self._since.clear()
