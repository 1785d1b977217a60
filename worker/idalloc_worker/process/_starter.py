"""Starts what needs a thread, and tries again where there is none to be had.

A machine that is short of processes or memory for a moment must not end what runs.
"""

import logging
import time
from collections.abc import Callable

from idalloc_client.amqp import Backoff

_log = logging.getLogger("idalloc.worker")


class Starter:
    """Owned by the main thread, which calls `retry` after `pause` seconds, unless that is None.

    What is started must bear to be asked again after it failed.
    """

    def __init__(
        self, backoff: Backoff | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._backoff = backoff or Backoff(0.1, 5.0)
        self._clock = clock
        self._pending: dict[str, Callable[[], None]] = {}
        self._next_at = 0.0

    @property
    def pause(self) -> float | None:
        """Seconds until the next attempt; None if all is started."""
        return max(self._next_at - self._clock(), 0.0) if self._pending else None

    def start(self, what: str, start: Callable[[], None]) -> None:
        """Start something now, or later."""
        self._pending[what] = start
        self._try(what)

    def retry(self) -> None:
        """Start what could not be, if its time has come."""
        if self._pending and self._clock() >= self._next_at:
            for what in list(self._pending):
                self._try(what)

    def _try(self, what: str) -> None:
        try:
            self._pending[what]()
        except (OSError, RuntimeError) as error:  # a lack of descriptors; of threads
            delay = self._backoff.next_delay()
            self._next_at = self._clock() + delay
            _log.error("Cannot start %s: %s; trying again in %.1f s", what, error, delay)
            return
        del self._pending[what]
        if not self._pending:
            self._backoff.reset()
