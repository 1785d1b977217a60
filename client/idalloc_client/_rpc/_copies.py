"""Decides when a request is sent once more because nothing was heard of it.

It may be lost, or its answer, with a node of the broker or a worker that died; and a full queue may
not have taken it. Where it is only late a copy makes others wait longer, and costs ids. So copies
follow the round trips that were measured, as TCP sends again (RFC 6298), each after twice the time
of the one before; and a budget keeps a client whose requests are all late from doubling the load.

What left before the broker was asked to say of each message whether it took it is a matter of its
own. One copy is sent at once, to see whether the queue is full; once the broker has refused one,
the rest follows as fast as it takes them.
"""

import random
from collections.abc import Callable, Iterable
from math import inf
from typing import Final

LEAST_PATIENCE: Final = 0.5
MOST_PATIENCE: Final = 4.0
"""Seconds before the first copy: between those a request is late that takes longer than usual."""

MOST_COPIES: Final = 4
"""Of one request on one channel."""

BURST: Final = 1000
"""Copies in a row, after as many requests as earn them; a tenth of that at the beginning."""
_EARNED: Final = 0.2  # copies for each request
_TRICKLE: Final = 2.0  # copies for each second

_PAUSE: Final = 0.1
"""Seconds after a copy was refused."""

_MOST_UNTOLD: Final = 1000
"""Copies of which the broker has not said whether it took them."""

_UNTOLD_FOR: Final = 1.0  # seconds; it may never say, where a node of a cluster is gone


class RoundTrip:
    """Knows how long an answer takes, in seconds."""

    def __init__(self) -> None:
        self._mean: float | None = None
        self._deviation = 0.0

    def observe(self, seconds: float) -> None:
        """Take one more, from the first time that a request was sent."""
        if self._mean is None:
            self._mean, self._deviation = seconds, seconds / 2
            return
        difference = seconds - self._mean
        self._mean += difference / 8
        self._deviation += (abs(difference) - self._deviation) / 4

    @property
    def patience(self) -> float:
        """After how many seconds without an answer a request is late."""
        mean = LEAST_PATIENCE if self._mean is None else self._mean
        return min(max(mean + 4 * self._deviation, LEAST_PATIENCE), MOST_PATIENCE)


class CopyBudget:
    """How many copies a client may still send; `requests` says how many it has sent for callers."""

    def __init__(self, requests: Callable[[], int]) -> None:
        self._requests = requests
        self._seen = 0
        self._since = -inf
        self._left = BURST / 10

    def take(self, now: float) -> bool:
        """Take one, if there is one."""
        requests, seconds = self._requests(), min(now - self._since, BURST)
        if self._since > -inf:
            earned = _EARNED * (requests - self._seen) + _TRICKLE * seconds
            self._left = min(self._left + earned, BURST)
        self._seen, self._since = requests, now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Copies:
    """Those of one channel; times are monotonic seconds."""

    def __init__(self, budget: CopyBudget, *, jitter: Callable[[], float] = random.random) -> None:
        self._budget = budget
        self._jitter = jitter
        self.refused = False
        """Whether the broker has refused a request."""
        self._unasked: set[bytes] = set()
        """What was sent before the broker was asked, as far as no copy followed."""
        self._due: dict[bytes, tuple[float, int]] = {}
        """When the next copy of a request is due, and how many there were."""
        self._untold: dict[bytes, float] = {}
        """Copies of which the broker is to say if it took them, and when that counts no more."""
        self._at_a_time = 1
        self._resume_at = 0.0

    def begin(self, unasked: Iterable[bytes], first: bytes, now: float) -> None:
        """Take what was sent until now; `first` is to tell whether the queue is full."""
        self._unasked = set(unasked)
        self._due[first] = now, 0

    def wants(self, call: bytes, now: float, patience: float) -> bool:
        """Whether a copy of a request is to be sent now; it counts as sent then.

        `patience` is the time before the first one, in seconds.
        """
        due, copies = self._due.get(call) or self._plan(call, now, patience, 0)
        owed = self.refused and call in self._unasked
        if (now < due and not owed) or now < self._resume_at or self._busy(now):
            return False
        if not owed and not self._budget.take(now):
            return False
        self._unasked.discard(call)
        self._plan(call, now, patience, copies + 1)
        self._untold[call] = now + _UNTOLD_FOR
        return True

    def are_due(self, call: bytes, now: float, patience: float) -> bool:
        """Whether a request that has another way is to take that, without a look at the budget.

        From then on it is like one that has just been sent.
        """
        due, _ = self._due.get(call) or self._plan(call, now, patience, 0)
        if now < due:
            return False
        self.forget(call)
        return True

    def told(self, call: bytes, now: float, *, taken: bool) -> bool:
        """Hear what the broker says of a message; False if it was no copy."""
        self.refused |= not taken
        if self._untold.pop(call, None) is None:
            return False
        if taken:
            self._at_a_time = min(2 * self._at_a_time, _MOST_UNTOLD)
        else:  # the request itself may be in the queue, and be answered
            self._at_a_time, self._resume_at = 1, now + _PAUSE
            _, copies = self._due.get(call, (now, 1))
            self._due[call] = now, copies - 1
        return True

    def forget(self, call: bytes) -> None:
        """Hear that nobody waits for a request any more."""
        self._due.pop(call, None)
        self._unasked.discard(call)

    def _plan(self, call: bytes, now: float, patience: float, copies: int) -> tuple[float, int]:
        pause = patience * 2.0**copies * (0.75 + self._jitter() / 2)
        planned = now + pause if copies < MOST_COPIES else inf, copies
        self._due[call] = planned
        return planned

    def _busy(self, now: float) -> bool:
        if len(self._untold) >= self._at_a_time:
            self._untold = {call: end for call, end in self._untold.items() if end > now}
        return len(self._untold) >= self._at_a_time
