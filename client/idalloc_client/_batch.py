"""The ids of one call, as a sequence that does not hold them one by one."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, chain
from typing import overload


class IdBatch(Sequence[int]):
    """An immutable, increasing sequence of ids, kept as ranges: a million ids take no memory.

    `worker` names the worker that gave them, or is empty.
    """

    __slots__ = ("_ends", "_ranges", "worker")

    def __init__(self, ranges: Iterable[tuple[int, int]], worker: str = "") -> None:
        self.worker = worker
        self._ranges = tuple(range(start, end) for start, end in ranges)
        self._ends = tuple(accumulate(len(ids) for ids in self._ranges))

    @property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        """The ids as half-open ranges `(start, end)`, in increasing order."""
        return tuple((ids.start, ids.stop) for ids in self._ranges)

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __iter__(self) -> Iterator[int]:
        return chain.from_iterable(self._ranges)

    def __reversed__(self) -> Iterator[int]:
        return chain.from_iterable(reversed(ids) for ids in reversed(self._ranges))

    def __contains__(self, value: object) -> bool:
        return any(value in ids for ids in self._ranges)

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[int]: ...
    def __getitem__(self, index: int | slice) -> int | Sequence[int]:
        if isinstance(index, slice):
            return self._slice(*index.indices(len(self)))
        position = index + len(self) if index < 0 else index
        if not 0 <= position < len(self):
            raise IndexError("IdBatch index out of range")
        which = bisect_right(self._ends, position)
        return self._ranges[which][position - self._ends[which]]  # counted from the range's end

    def _slice(self, start: int, stop: int, step: int) -> Sequence[int]:
        if step != 1:
            return tuple(self[position] for position in range(start, stop, step))
        pieces = []
        before = 0
        for ids, end in zip(self._ranges, self._ends, strict=True):
            piece = ids[max(start - before, 0) : max(stop - before, 0)]
            if piece:
                pieces.append((piece.start, piece.stop))
            before = end
        return IdBatch(pieces, self.worker)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, IdBatch):
            return NotImplemented
        return self._ranges == other._ranges

    def __hash__(self) -> int:
        return hash(self._ranges)

    def __repr__(self) -> str:
        return f"IdBatch({list(self.ranges)})"
