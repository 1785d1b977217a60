"""What a worker's first message over a channel tells of the broker: whether it speaks, how soon."""

from collections.abc import Callable
from typing import Final

ON_ITS_WAY: Final = 0.1
"""Seconds, at least, for what the broker has routed to come into the stream."""

_MOST_FAILED: Final = 5  # one after the other


class Greetings:
    """Owned by the link's thread: one greeting for each channel."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._began = self._confirmed = 0.0
        self._failed = 0

    def begin(self) -> None:
        """Greet over a new channel."""
        self._began = self._clock()

    def confirmed(self) -> None:
        """Hear that all have it: those that failed before count no more."""
        self._confirmed = self._clock()
        self._failed = 0

    def failed(self, weight: int) -> bool:
        """Count one that did not get through; True once it is to be done without."""
        self._failed += weight
        return self._failed >= _MOST_FAILED

    @property
    def pause(self) -> float:
        """Seconds from now until all is in the stream that was routed before the greeting.

        A broker that is slow to do that was slow with the greeting too.
        """
        pause = max(ON_ITS_WAY, self._confirmed - self._began)
        return max(self._confirmed + pause - self._clock(), 0.0)
