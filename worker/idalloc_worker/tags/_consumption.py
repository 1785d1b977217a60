"""Measures how fast a tag's ids are asked for, without a step of its own per request."""

from typing import Final

SHORTEST_WINDOW: Final = 1.0
"""Seconds; over less than this a count says little about a rate."""


class Consumption:
    """Reads a counter now and then, and tells the rate between two readings.

    Times are monotonic seconds. A clock that goes back starts a new window.
    """

    __slots__ = ("_asked", "_rate", "_since")

    def __init__(self) -> None:
        self._since: float | None = None
        self._asked = 0
        self._rate = 0.0

    def observe(self, now: float, asked: int) -> float:
        """Note how many ids were asked for until now, and return the rate per second.

        A window stays open until it is long enough. Within one the rate can be seen to rise, not to
        fall: a hundred ids in the first hundredth of a second are at least a hundred per second.
        """
        rate = self.rate(now, asked)
        if self._since is None or not 0 <= now - self._since < SHORTEST_WINDOW:
            self._since, self._asked, self._rate = now, asked, rate
        return rate

    def rate(self, now: float, asked: int) -> float:
        """Tell the rate and note nothing."""
        if self._since is None or now < self._since:
            return self._rate
        elapsed = now - self._since
        rate = max(asked - self._asked, 0) / max(elapsed, SHORTEST_WINDOW)
        return rate if elapsed >= SHORTEST_WINDOW else max(rate, self._rate)
