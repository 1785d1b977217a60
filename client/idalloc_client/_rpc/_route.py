"""Through which exchange a request goes: to a worker beside it, where there is one, or to any."""

from math import inf
from typing import Final

from idalloc_schemas import ALLOC_QUEUE, LOCAL_EXCHANGE

NO_WORKER_HERE: Final = 5.0
"""Seconds for which requests go around the exchange after one came back: no worker is there."""

NO_EXCHANGE: Final = 60.0
"""Seconds for which they do after the broker has refused the exchange: each try costs a channel."""

_DEFAULT_EXCHANGE = b""


class Route:
    """The way from one client; times are monotonic seconds.

    Only `LOCAL_EXCHANGE` has a way around it: the default exchange, to the queue that all workers
    share. Health is asked there too, and so is what is sent again: a worker that is near and frozen
    must not get it once more.
    """

    def __init__(self, exchange: str) -> None:
        self.exchange = exchange.encode()
        """What requests are sent through unless `other` says otherwise."""
        self._local = exchange == LOCAL_EXCHANGE
        self._around_until = -inf

    def other(self, queue: str, now: float, *, again: bool) -> bytes | None:
        """Name another exchange for a request; None if it goes the usual way."""
        if self._local and (again or now < self._around_until or queue != ALLOC_QUEUE):
            return _DEFAULT_EXCHANGE
        return None

    def returned(self, exchange: str, now: float) -> bool:
        """Hear that a request came back from an exchange; tell whether there is another way."""
        if exchange != LOCAL_EXCHANGE:
            return False
        self._around_until = max(self._around_until, now + NO_WORKER_HERE)
        return True

    def refused(self, now: float) -> bool:
        """Hear that the broker refused the exchange; tell whether there is another way."""
        if self._local:
            self._around_until = now + NO_EXCHANGE
        return self._local
