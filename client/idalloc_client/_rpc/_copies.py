"""Decides when a request is sent once more that a full queue may not have taken.

What left before the broker was asked to say of each message whether it took it is most likely in
the queue, behind others; a copy makes those wait longer. So one is sent to see whether the queue
is full. The rest follows when half of its time is over, or, once the broker has refused one, as
fast as it takes them.
"""

from collections.abc import Mapping
from typing import Final

_PAUSE: Final = 0.1
"""Seconds after a copy was refused."""

_MOST: Final = 1000
"""Copies of which the broker has not said whether it took them."""


class Copies:
    """Those of one channel; times are monotonic seconds."""

    def __init__(self) -> None:
        self.refused = False
        """Whether the broker has refused a request."""
        self._due: dict[bytes, float] = {}
        self._sent: set[bytes] = set()
        self._at_a_time = 1
        self._resume_at = 0.0

    def begin(self, deadlines: Mapping[bytes, float], first: bytes, now: float) -> None:
        """Take what was sent until now; `first` is to tell whether the queue is full."""
        self._due = {call: (now + deadline) / 2 for call, deadline in deadlines.items()}
        self._due[first] = now

    def wants(self, call: bytes, now: float) -> bool:
        """Whether a copy of a request is to be sent now; it counts as sent then."""
        due = self._due.get(call)
        if due is None or now < self._resume_at or len(self._sent) >= self._at_a_time:
            return False
        if now < due and not self.refused:
            return False
        del self._due[call]
        self._sent.add(call)
        return True

    def told(self, call: bytes, now: float, *, taken: bool) -> bool:
        """Hear what the broker says of a message; False if it was no copy."""
        self.refused |= not taken
        if call not in self._sent:
            return False
        self._sent.discard(call)
        if taken:
            self._at_a_time = min(2 * self._at_a_time, _MOST)
        else:  # the request itself may be in the queue, and be answered
            self._at_a_time, self._resume_at = 1, now + _PAUSE
            self._due[call] = now
        return True
