"""Keeps a store from connecting over and over to a database that is down."""

import random
from collections.abc import Callable
from typing import Final

from idalloc_client._backoff import Backoff
from idalloc_worker._store_errors import StoreUnavailableError

FIRST_DELAY: Final = 0.1
LONGEST_DELAY: Final = 1.0


class ConnectPacing:
    """After a failed attempt to connect, refuses further ones for a jittered, doubling time.

    Owned by one store. `jitter` gives a number from 0 to 1.
    """

    def __init__(self, jitter: Callable[[], float] = random.random) -> None:
        self._backoff = Backoff(FIRST_DELAY, LONGEST_DELAY, jitter=jitter)
        self._resume_at = 0.0
        self._failure: StoreUnavailableError | None = None

    def check(self, now: float) -> None:
        """Raise the last failure again if it is too early for another attempt."""
        failure = self._failure
        if failure is not None and now < self._resume_at:
            raise StoreUnavailableError(
                failure.reason, str(failure), errno=failure.errno
            ) from failure.__cause__

    def failed(self, now: float, failure: StoreUnavailableError) -> None:
        """Count a failed attempt."""
        self._failure = failure
        self._resume_at = now + self._backoff.next_delay()

    def succeeded(self) -> None:
        """Forget the failures."""
        self._failure = None
        self._backoff.reset()
