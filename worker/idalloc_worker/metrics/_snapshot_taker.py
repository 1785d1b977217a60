"""Takes a snapshot of a worker on its I/O thread, a slice of the tags in each turn of the loop.

A hundred thousand tags take a good part of a second to look at. In slices, no request waits longer
than for one slice; and a thread of its own would not help, as it would hold the interpreter's lock
for longer at a time.
"""

import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final

from idalloc_worker.counters import Counters
from idalloc_worker.engine import TagPool
from idalloc_worker.metrics._snapshot import Snapshot
from idalloc_worker.metrics._tag_series import TagSeries

_SLICE: Final = 250  # tags per turn: about a millisecond

OnTaken = Callable[[Snapshot], None]
Later = Callable[[float, Callable[[], None]], object]


class SnapshotTaker:
    """Belongs to the I/O thread; `later` calls back on it.

    `pools` is a walk through all tags, which goes on in later turns.
    """

    def __init__(
        self,
        pools: Callable[[], Iterator[TagPool]],
        counters: Counters,
        later: Later,
        worker: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pools = pools
        self._counters = counters
        self._later = later
        self._worker = worker
        self._clock = clock
        self._started_at = time.time()
        self._series = TagSeries(clock())
        self._waiting: list[OnTaken] = []

    def take(self, on_taken: OnTaken) -> None:
        """Call `on_taken` with a snapshot, maybe in a later turn; who asks meanwhile shares it."""
        self._waiting.append(on_taken)
        if len(self._waiting) == 1:
            self._series.begin(self._clock())
            self._go_on(self._pools())

    def _go_on(self, rest: Iterator[TagPool]) -> None:
        looked_at = 0
        for looked_at, pool in enumerate(islice(rest, _SLICE), 1):  # noqa: B007  # counted
            self._series.look(pool)
        if looked_at == _SLICE:
            self._later(0, lambda: self._go_on(rest))
            return
        snapshot = self._describe()
        waiting, self._waiting = self._waiting, []
        for on_taken in waiting:
            on_taken(snapshot)

    def _describe(self) -> Snapshot:
        counters, series = self._counters, self._series
        tags = series.end()
        handed_out, reserved, lost, given_back = series.totals
        return Snapshot(
            worker=self._worker,
            started_at=self._started_at,
            cpu_seconds=time.process_time(),
            outcomes=counters.ends(),
            events={event.value: count for event, count in counters.events.items()},
            refill_failures=dict(counters.refill_failures),
            limited=counters.limited.by_user(),
            latency=counters.latency.copy(),
            refill_time=counters.refill_time.copy(),
            connected=counters.connected,
            blocked=counters.blocked,
            database_reachable=counters.database_reachable,
            marks_in_broker=counters.marks_in_broker,
            tags_held=series.held,
            refills_in_flight=series.refilling,
            handed_out=handed_out,
            reserved=reserved,
            lost=lost,
            given_back=given_back,
            left=series.left,
            waiters=series.waiters,
            tags=tags,
        )
