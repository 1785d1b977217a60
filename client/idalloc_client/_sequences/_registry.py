"""Which sequences a client has made, and what they count together."""

import weakref
from typing import Protocol

from idalloc_client._memory import MEMORY, Locks
from idalloc_client._stats import LeaseTallies, SequenceStats, sequence_stats


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
        self._process = MEMORY.process()
        self._tallies = LeaseTallies()
        self._locks = Locks()  # they guard the set
        self._sequences: weakref.WeakSet[Counted] = weakref.WeakSet()

    @property
    def tallies(self) -> LeaseTallies:
        """Tell what the sequences count in this process."""
        if self._process.gone:
            with self._locks.mine():
                if self._process.gone:
                    self._tallies = LeaseTallies()
                    self._process = MEMORY.process()
        return self._tallies

    def add(self, sequence: Counted) -> None:
        """Count a sequence in."""
        with self._locks.mine():
            self._sequences.add(sequence)

    def stats(self) -> SequenceStats:
        """Sum up."""
        with self._locks.mine():
            sequences = list(self._sequences)
        return sequence_stats(self.tallies, [each.left for each in sequences if not each.closed])
