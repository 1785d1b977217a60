"""What a client counts while it works; it costs nothing per id, only per request."""

import threading
from collections import Counter

from idalloc_client.histogram import Histogram

ROUND_TRIP_BUCKETS = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
)  # fmt: skip
"""Upper bounds in seconds."""


class ClientCounters:
    """Counters of one connection, as `ClientStats` describes them.

    They belong to the thread or loop that owns it.
    """

    def __init__(self) -> None:
        self.served = 0
        self.abandoned = 0
        """Calls whose caller had gone when their turn came, less those that ran out of time."""
        self._cancelled = 0
        self.failed: Counter[str] = Counter()
        self.requests = 0
        self.gathered = 0
        self.resent = 0
        self.retried = 0
        self.ids = 0
        self.ids_unused = 0
        self.late_replies = 0
        self.foreign_replies = 0
        self.connects = 0
        self.connections_lost = 0
        self.blocked = 0
        self.round_trip = Histogram(ROUND_TRIP_BUCKETS)
        """From handing a request to the connection to its reply."""

    def copy_of_failed(self) -> dict[str, int]:
        """Return the failed calls by error; another thread may count meanwhile."""
        while True:
            try:
                return dict(self.failed)
            except RuntimeError:  # a new kind of error came just now
                continue

    def cancelled(self) -> int:
        """Return the calls that were found to be cancelled; as a counter, it never goes back.

        `abandoned` does, for as long as a caller that ran out of time was not found to have gone.
        """
        self._cancelled = max(self._cancelled, self.abandoned)
        return self._cancelled

    def overdue(self, error: Exception) -> None:
        """Count a caller that runs out of time; it will be found to have gone."""
        self.failed[type(error).__name__] += 1
        self.abandoned -= 1


class LeaseCounters:
    """What all sequences of a client have counted; threads share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.leases = 0
        self.leases_failed = 0
        self.ids = 0
        self.ids_unused = 0

    def lent(self, ids: int) -> None:
        with self._lock:
            self.leases += 1
            self.ids += ids

    def failed(self) -> None:
        with self._lock:
            self.leases_failed += 1

    def gave_up(self, ids: int) -> None:
        with self._lock:
            self.ids_unused += ids
