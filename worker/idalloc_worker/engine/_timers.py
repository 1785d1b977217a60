"""What is due when, for an engine to which time comes in as an argument."""

import heapq
from collections.abc import Iterator
from itertools import count
from math import inf
from typing import Generic, TypeVar

_Subject = TypeVar("_Subject")


class Timers(Generic[_Subject]):
    """A heap of times, in seconds. None is ever cancelled: who is told looks whether it matters."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, _Subject]] = []
        self._numbers = count()  # of two that are due at once, the older one comes first

    def __len__(self) -> int:
        """How many are set."""
        return len(self._heap)

    @property
    def next(self) -> float:
        """When the next one is due; `inf` if none is."""
        return self._heap[0][0] if self._heap else inf

    def set(self, at: float, subject: _Subject) -> None:
        """Have `due` give a subject from a time on."""
        heapq.heappush(self._heap, (at, next(self._numbers), subject))

    def due(self, now: float) -> Iterator[_Subject]:
        """Take out what is due, also of what is set meanwhile."""
        while self._heap and self._heap[0][0] <= now:
            yield heapq.heappop(self._heap)[2]
