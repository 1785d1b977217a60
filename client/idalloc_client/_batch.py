"""The ids of one call, as a sequence that does not hold them one by one."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, chain
from typing import NamedTuple, TypeVar, overload

from idalloc_client._errors import IdAllocError
from idalloc_schemas import Period

_Answer = TypeVar("_Answer", bound=object)


class PeriodId(NamedTuple):
    """A number of a tag that starts anew in each period; they sort as they were given.

    Only both together are unique.
    """

    period: Period
    id: int


class IdBatch(Sequence[int]):
    """An immutable, increasing sequence of ids, kept as ranges: a million ids take no memory.

    `worker` names the worker that gave them, or is empty. `app_tag` is what was asked for, where
    that is known. `period` is the day, month or year in which they are unique, and None for the
    ids of an ordinary tag, which never come twice.
    """

    __slots__ = ("_ends", "_ranges", "app_tag", "period", "shortcut", "worker")

    def __init__(
        self,
        ranges: Iterable[tuple[int, int]],
        worker: str = "",
        period: Period | None = None,
        app_tag: str | None = None,
    ) -> None:
        self.worker = worker
        self.period = period
        self.app_tag = app_tag
        self.shortcut: str | None = None
        """The queue of the tag's owner, if the worker named it; further requests may go there."""
        # A list is faster than a generator: one of these is made for each reply.
        self._ranges = tuple([range(start, end) for start, end in ranges])
        self._ends = tuple(accumulate(map(len, self._ranges)))

    @property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        """The ids as half-open ranges `(start, end)`, in increasing order."""
        return tuple((ids.start, ids.stop) for ids in self._ranges)

    def numbers(self) -> list[PeriodId]:
        """Return them with their period. Raises `PeriodError` for the ids of an ordinary tag."""
        period = self.period
        if period is None:
            raise PeriodError(self)
        return [PeriodId(period, value) for value in self]

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
        return IdBatch(pieces, self.worker, self.period, self.app_tag)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, IdBatch):
            return NotImplemented
        return self._ranges == other._ranges and self.period == other.period

    def __hash__(self) -> int:
        return hash((self._ranges, self.period))

    def __repr__(self) -> str:
        period = "" if self.period is None else f", period={str(self.period)!r}"
        return f"IdBatch({list(self.ranges)}{period})"


class PeriodError(IdAllocError):
    """The call does not fit the tag, of which only one kind starts anew in each period.

    Numbers that come again in the next period go to calls that return the period with them.
    `ids` has what was drawn, with its `period`; nobody else gets it.
    """

    def __init__(self, ids: IdBatch) -> None:
        about = f" (app_tag {ids.app_tag!r})" if ids.app_tag is not None else ""
        super().__init__(
            f"this tag has no periods: call next_id or next_ids{about}"
            if ids.period is None
            else f"numbers of this tag are unique within their period, {ids.period}, only: call "
            f"next_number or next_numbers, which return it{about}"
        )
        self.ids = ids


def without_period(answer: IdBatch | _Answer) -> "IdBatch | _Answer | PeriodError":
    """Turn numbers of a period into an error, for those who would lose the period."""
    if isinstance(answer, IdBatch) and answer.period is not None:
        return PeriodError(answer)
    return answer
