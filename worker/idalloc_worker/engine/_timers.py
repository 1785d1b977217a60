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
        self.next = inf
        """When the next one is due; `inf` if none is."""
        self._heap: list[tuple[float, int, _Subject]] = []
        self._numbers = count()  # of two that are due at once, the older one comes first

    def __len__(self) -> int:
        """How many are set."""
        return len(self._heap)

    def set(self, at: float, subject: _Subject) -> None:
        """Have `due` give a subject from a time on."""
        heapq.heappush(self._heap, (at, next(self._numbers), subject))
        self.next = self._heap[0][0]

    def due(self, now: float) -> Iterator[_Subject]:
        """Take out what is due, also of what is set meanwhile."""
        while self._heap and self.next <= now:
            _, _, subject = heapq.heappop(self._heap)
            self.next = self._heap[0][0] if self._heap else inf
            yield subject
