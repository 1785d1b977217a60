"""How many requests of a tag are on their way, and how far apart they leave.

A near broker answers about as soon as the callers of the answer before were served: two requests
take turns, or as many as are found to be better (`_climb`). The way to a far one has room for more,
and who comes meanwhile should not wait for a whole round trip: up to four leave, spread over it. A
crowd leaves at once in as many shares, so that one is served while the others are on their way.
More than four may together cost a quarter of the time of this process, as far as serving an answer
was measured to take; beyond it, each tag has two again.
"""

from math import inf
from typing import Final

from idalloc_client._batching._climb import REQUESTS_IN_FLIGHT, Climb
from idalloc_client._batching._request_size import SMALLEST_PIECE
from idalloc_client._batching._tag_queue import TagQueue

CROWD: Final = 64
"""Callers who are served in one turn of the loop, before further replies wait for the next one.

Where each asks for another tag, their next requests so leave in one write. With 1 instead, 100
such tasks got 0.6 of the ids, and cost the broker 1.7 times the CPU time."""

FAR: Final = 4
"""Of one tag, on a long way: on average a caller waits for an eighth of a round trip to leave."""

LARGEST_PIECE: Final = 1000
"""Callers of a request near the broker. What serving more touches leaves the processor's cache:
10,000 tasks in requests for 5,000 cost a fourth more CPU time for each id."""

_FAR_FROM: Final = 0.0024  # seconds: loops wake up by the millisecond, and four gaps are to fit
_SPREAD: Final = 0.75  # of an even gap, so that the answers, which are as far apart, set the pace
_SHARE: Final = 0.25
_FORGET: Final = 1000
"""Round trips after which the shortest one is as good as forgotten: the way may have changed. Only
those count of requests that left alone: others also wait for what is in flight already, and if that
made the way seem longer, there would be more."""


class Pace:
    """What a client measured on its link. It belongs to a batcher."""

    def __init__(self, climb: Climb | None = None) -> None:
        self._climb = climb or Climb()
        self.gap = 0.0
        """Seconds between two requests of a tag; 0 where the broker is near."""
        self._shortest = inf
        self._work = 0.0

    def came_back(self, seconds: float, *, alone: bool) -> None:
        """Take the round trip of a request that brought ids; `alone` if none was before it."""
        shortest = self._shortest
        if seconds < shortest:
            self._shortest = seconds
        elif alone:
            self._shortest = shortest + (seconds - shortest) / _FORGET
        far = self._shortest >= _FAR_FROM
        self.gap = _SPREAD * self._shortest / FAR if far else 0.0

    def served(self, callers: int, began: float, now: float) -> None:
        """Take how many callers a turn of the loop served, until they had asked again."""
        self._work += (now - began - self._work) / 8
        if not self.gap:
            self._climb.served(callers, began, now, self._shortest)

    def places(self, on_the_way: int) -> int:
        """Say how many requests of a tag may be on their way, where all tags have so many."""
        if not self.gap:
            return self._climb.places
        crowded = on_the_way > FAR and on_the_way * self._work > _SHARE * self._shortest
        return REQUESTS_IN_FLIGHT if crowded else FAR

    def wait(self, queue: TagQueue, on_the_way: int, now: float) -> float:
        """Say in how many seconds a queue's next request may leave; inf: after an answer."""
        if queue.in_flight >= self.places(on_the_way):
            self._climb.full = True
            return inf
        if not queue.in_flight or queue.wanted >= self.piece(queue):
            return 0.0
        return max(queue.left_at + self.gap - now, 0.0)

    def piece(self, queue: TagQueue) -> int:
        """Say how many ids the next request asks for at most: a crowd leaves in equal shares."""
        crowd, places = queue.wanted + queue.asked_for, FAR if self.gap else self._climb.places
        shares = min(places, crowd * places // (REQUESTS_IN_FLIGHT * SMALLEST_PIECE))
        share = -(-crowd // max(shares, 1))
        return share if queue.extra or self.gap else min(share, LARGEST_PIECE)

    def leaves_at_once(self, queue: TagQueue, answered: int) -> bool:
        """Say whether those who wait leave before the callers of an answer come back.

        Where more were out, with the ids `answered`, they go together: groups that each waited for
        a place in turn would stay apart for good, more of them than places, and all be slower.
        """
        return bool(self.gap) or queue.wanted > queue.asked_for + answered
