"""How many ids a request that was gathered asks for at most."""

from idalloc_client._errors import BusyError, IdAllocError

MAX_GATHERED = 10_000
"""Ids in a request that was gathered; a call for more goes out by itself."""

SMALLEST_PIECE = 100
"""A crowd is split among the requests that may leave, so that a part of it is served while the
others wait; but two not into pieces of fewer ids than this: messages are what costs."""

_SUCCESSES_TO_WIDEN = 50


class RequestSize:
    """Learns what workers allow for a tag. It belongs to a tag queue."""

    def __init__(self) -> None:
        self.limit = MAX_GATHERED
        self._successes = 0

    def narrow(self, refused: int, error: IdAllocError) -> bool:
        """Ask for less: a worker did not allow so many. False: it would not allow less either.

        BUSY may say that the user has drawn too much in large requests: workers count those for up
        to 100 ids apart.
        """
        busy = isinstance(error, BusyError)
        if busy and refused <= SMALLEST_PIECE:
            return False
        self.limit = SMALLEST_PIECE if busy else max(refused // 2, 1)
        self._successes = 0
        return True

    def widen(self) -> None:
        """Let requests grow again, now and then: the worker that allowed less may be gone."""
        if self.limit < MAX_GATHERED:
            self._successes += 1
            if self._successes >= _SUCCESSES_TO_WIDEN:
                self._successes = 0
                self.limit = min(self.limit * 2, MAX_GATHERED)
