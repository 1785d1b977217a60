"""How many requests of a tag are on their way, and how far apart they leave.

A near broker answers about as soon as the callers of the answer before were served: two requests
take turns. The way to a far one has room for more, and who comes meanwhile should not wait for a
whole round trip: up to four leave, spread over it. They may together cost a quarter of the time of
this process, as far as serving an answer was measured to take; beyond it, each tag has two again.
"""

from math import inf
from typing import Final

from idalloc_client._batching._tag_queue import TagQueue

REQUESTS_IN_FLIGHT = 2
"""Of one tag, before later calls gather: while one is answered, the callers of the one before are
served and ask again. Measured by `benchmarks/races/in_flight.py`."""

CROWD: Final = 64
"""Callers who are served in one turn of the loop, before further replies wait for the next one.

Where each asks for another tag, their next requests so leave in one write. With 1 instead, 100
such tasks got 0.6 of the ids, and cost the broker 1.7 times the CPU time."""

FAR: Final = 4
"""Of one tag, on a long way: on average a caller waits for an eighth of a round trip to leave."""

_FAR_FROM: Final = 0.002  # seconds: loops wake up by the millisecond, and four gaps are to fit
_SPREAD: Final = 0.75  # of an even gap, so that the answers, which are as far apart, set the pace
_SHARE: Final = 0.25
_FORGET: Final = 1000
"""Round trips after which the shortest one is as good as forgotten: the way may have changed. It is
the shortest that counts: others also waited in queues, which more requests would make longer."""


class Pace:
    """What a client measured on its link. It belongs to a batcher."""

    def __init__(self) -> None:
        self.gap = 0.0
        """Seconds between two requests of a tag; 0 where the broker is near."""
        self._shortest = inf
        self._work = 0.0

    def came_back(self, seconds: float) -> None:
        """Take the round trip of a request that brought ids."""
        shortest = self._shortest
        if seconds < shortest:
            self._shortest = seconds
        else:
            self._shortest = shortest + (seconds - shortest) / _FORGET
        far = self._shortest >= _FAR_FROM
        self.gap = _SPREAD * self._shortest / FAR if far else 0.0

    def served(self, seconds: float) -> None:
        """Take how long it took from an answer until its callers were served, and had asked."""
        self._work += (seconds - self._work) / 8

    def places(self, on_the_way: int) -> int:
        """Say how many requests of a tag may be on their way, where all tags have so many."""
        crowded = on_the_way * self._work > _SHARE * self._shortest
        return FAR if self.gap and not crowded else REQUESTS_IN_FLIGHT

    def wait(self, queue: TagQueue, on_the_way: int, now: float) -> float:
        """Say in how many seconds a queue's next request may leave; inf: after an answer."""
        if queue.in_flight >= self.places(on_the_way):
            return inf
        return max(queue.left_at + self.gap - now, 0.0) if queue.in_flight else 0.0

    def pieces(self, queue: TagQueue, on_the_way: int) -> int:
        """Say among how many requests a crowd is split: where they leave apart, it is not."""
        return 1 if self.gap else max(self.places(on_the_way) - queue.in_flight, 1)
