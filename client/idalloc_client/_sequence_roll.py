"""Which sequences a client has made, and what they count together."""

import threading
import weakref
from typing import Protocol

from idalloc_client._stats import SequenceStats, sequence_stats
from idalloc_client._tallies import LeaseTallies


class Counted(Protocol):
    """A sequence of ids, of either kind."""

    @property
    def left(self) -> int:
        """How many ids are in memory."""

    @property
    def closed(self) -> bool:
        """Whether it hands out nothing more."""


class SequenceRoll:
    """Threads share it. A sequence that nobody holds any more is forgotten."""

    def __init__(self) -> None:
        self.tallies = LeaseTallies()
        self._lock = threading.Lock()  # guards the set
        self._sequences: weakref.WeakSet[Counted] = weakref.WeakSet()

    def add(self, sequence: Counted) -> None:
        """Count a sequence in."""
        with self._lock:
            self._sequences.add(sequence)

    def stats(self) -> SequenceStats:
        """Sum up."""
        with self._lock:
            sequences = list(self._sequences)
        return sequence_stats(self.tallies, [each.left for each in sequences if not each.closed])
