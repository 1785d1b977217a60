"""Simulated time: it stands still while messages are on their way, and leaps to the next timer."""

import heapq
from collections.abc import Callable
from itertools import count
from math import inf
from typing import Protocol

Callback = Callable[[], None]

WAIT = 0.35
"""Seconds in which a fleet has gathered."""


class Sleeper(Protocol):
    """Whose timers they are."""

    @property
    def alive(self) -> bool:
        """Whether its timers still matter."""

    def run(self, callback: Callback) -> None:
        """Run what is due, now or once it is awake."""


class Timer:
    """As a link gives it."""

    __slots__ = ("callback",)

    def __init__(self, callback: Callback) -> None:
        self.callback: Callback | None = callback

    def cancel(self) -> None:
        """Forget the callback."""
        self.callback = None


class Clock:
    """Seconds, and what is due when."""

    def __init__(self) -> None:
        self.now = 0.0
        self._heap: list[tuple[float, int, Timer, Sleeper]] = []
        self._numbers = count()

    def read(self) -> float:
        """Tell the time, as `time.monotonic` does."""
        return self.now

    def call_later(self, sleeper: Sleeper, delay: float, callback: Callback) -> Timer:
        """Set a timer."""
        timer = Timer(callback)
        at = self.now + max(delay, 0.0)
        heapq.heappush(self._heap, (at, next(self._numbers), timer, sleeper))
        return timer

    @property
    def next(self) -> float:
        """When the next timer is due; `inf` if there is none."""
        heap = self._heap
        while heap and (heap[0][2].callback is None or not heap[0][3].alive):
            heapq.heappop(heap)
        return heap[0][0] if heap else inf

    def leap(self) -> None:
        """Let time pass until the next timer is due, and run it."""
        if self.next == inf:
            return
        at, _, timer, sleeper = heapq.heappop(self._heap)
        self.now = max(self.now, at)
        if timer.callback is not None:
            sleeper.run(timer.callback)
