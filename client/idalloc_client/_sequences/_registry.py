"""Which sequences a client has made, and what they count together."""

import weakref
from typing import Protocol

from idalloc_client._memory import Locks, PerProcess
from idalloc_client._stats import LeaseCounters, SequenceStats, sequence_stats


class Counted(Protocol):
    """A sequence of ids, of either kind."""

    @property
    def left(self) -> int: ...

    @property
    def closed(self) -> bool: ...


class SequenceRegistry:
    """Threads share it. A sequence that nobody holds any more is forgotten."""

    def __init__(self) -> None:
        self._counters = PerProcess(LeaseCounters)
        self._locks = Locks()  # they guard the set
        self._sequences: weakref.WeakSet[Counted] = weakref.WeakSet()

    @property
    def counters(self) -> LeaseCounters:
        return self._counters.mine()

    def add(self, sequence: Counted) -> None:
        with self._locks.mine():
            self._sequences.add(sequence)

    def stats(self) -> SequenceStats:
        with self._locks.mine():
            sequences = list(self._sequences)
        return sequence_stats(self.counters, [each.left for each in sequences if not each.closed])
