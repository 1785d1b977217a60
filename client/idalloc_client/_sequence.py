"""Ids at the speed of a counter: leased ahead in batches, handed out by C code.

`next()` on a sequence runs no Python: the sequence is an `itertools.chain` of range iterators, and
only between two ranges is `_Source` asked for the next one. Measured beside `itertools.count`,
anything written in Python would be several times slower.
"""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, Self, cast

from idalloc_client._batch import IdBatch
from idalloc_client._errors import (
    ClientClosedError,
    ForkedClientError,
    IdAllocError,
    fresh,
)
from idalloc_client._forks import end_in_children
from idalloc_client._lease_book import FINAL, LeaseBook, no_lease_in_time, retry_pause
from idalloc_client._lease_size import LeaseLimits
from idalloc_client._sequence_roll import SequenceRoll
from idalloc_client._tallies import LeaseTallies

Lease = Callable[[int, Callable[[IdBatch | IdAllocError], None]], None]
"""Asks for so many ids, and calls back from another thread, once."""


class IdSequence(itertools.chain[int]):
    """An endless iterator of ids of one tag; `IdClient.sequence` makes it. Threads may share it.

    `next(ids)` returns an id from memory. It waits only when the leased ids are used up and no more
    could be had, for at most the sequence's timeout, and then raises an `IdAllocError`; the next
    call tries again.
    """

    _source: "_Source"

    @property
    def left(self) -> int:
        """How many ids can be handed out without asking a worker."""
        return self._source.left

    @property
    def cover(self) -> float:
        """Seconds that they last at the rate of late: how long an outage goes unnoticed."""
        return self._source.cover

    @property
    def unused(self) -> int:
        """How many leased ids were given up by `close`."""
        return self._source.unused

    @property
    def closed(self) -> bool:
        """Whether it hands out nothing more."""
        return self._source.closed

    def close(self) -> None:
        """Give up what is left; every later `next` raises `ClientClosedError`. Safe to repeat."""
        self._source.close(ClientClosedError("the sequence is closed"))

    def after_fork(self) -> None:
        """Leave all ids to the parent."""
        self._source.after_fork()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        # A copy, in this process or another, would hand out the same ids again.
        raise TypeError("a sequence of ids cannot be copied or pickled")

    def __reduce_ex__(self, _protocol: Any) -> NoReturn:
        self.__reduce__()

    __copy__ = __reduce__

    def __deepcopy__(self, _memo: object) -> NoReturn:
        self.__reduce__()


def new_sequence(
    lease: Lease,
    limits: LeaseLimits,
    timeout: float,
    roll: SequenceRoll | None = None,
    overdue: Callable[[], IdAllocError] = no_lease_in_time,
) -> IdSequence:
    """Make a sequence; nothing is leased before its first use. `overdue` says why no lease came."""
    roll = roll or SequenceRoll()
    source = _Source(lease, limits, timeout, roll.tallies, overdue)
    ids = cast(IdSequence, IdSequence.from_iterable(source))  # of the class that it is called on
    ids._source = source  # noqa: SLF001  # chain has no place for it in its constructor
    end_in_children(ids)
    roll.add(ids)
    return ids


class _Source:
    """Gives the chain one range after the other. Its lock guards the book."""

    def __init__(
        self,
        lease: Lease,
        limits: LeaseLimits,
        timeout: float,
        tallies: LeaseTallies,
        overdue: Callable[[], IdAllocError],
    ) -> None:
        self._lease = lease
        self._overdue = overdue
        self._timeout = timeout
        self._book = LeaseBook(limits, time.monotonic(), tallies)
        self._changed = threading.Condition()
        self._closed_by: IdAllocError | None = None
        self._retry_at = 0.0

    def __iter__(self) -> "_Source":
        return self

    def __next__(self) -> Iterator[int]:
        # An exception that left here would end the chain for ever, so it is wrapped.
        try:
            return self._next_range()
        except BaseException as error:  # noqa: BLE001  # also KeyboardInterrupt
            return _RAISES.to_this_thread(error)

    @property
    def left(self) -> int:
        with self._changed:
            return self._book.left

    @property
    def cover(self) -> float:
        with self._changed:
            return self._book.cover(time.monotonic())

    @property
    def unused(self) -> int:
        with self._changed:
            return self._book.unused

    @property
    def closed(self) -> bool:
        return self._closed_by is not None

    def close(self, error: IdAllocError) -> None:
        with self._changed:
            self._closed_by = self._closed_by or error
            self._book.give_up()
            self._changed.notify_all()

    def after_fork(self) -> None:
        """Leave all ids to the parent. Another thread may have held the lock at the fork."""
        self._changed = threading.Condition()
        self.close(ForkedClientError())

    def _next_range(self) -> Iterator[int]:
        deadline = time.monotonic() + self._timeout
        while True:
            with self._changed:
                if self._closed_by is not None:
                    raise fresh(self._closed_by)
                # A range that is not used up was put there by another thread meanwhile.
                ready = self._book.turn_page(time.monotonic())
                wanted = self._wanted(ready=ready)
                if ready and not wanted:
                    return self._book.current
            for count in wanted:  # not under the lock: the answer may come at once
                self._lease(count, self._on_answer)
            if not ready:
                self._wait(deadline)

    def _wanted(self, *, ready: bool) -> list[int]:
        now = time.monotonic()
        if now < self._retry_at and (ready or self._book.error is not None):
            return []
        return list(iter(self._book.want, None))

    def _wait(self, deadline: float) -> None:
        with self._changed:
            if self._book.turn_page(time.monotonic()) or self._closed_by is not None:
                return
            now = time.monotonic()
            self._raise_if_final(overdue=now >= deadline)
            until = min(deadline, self._retry_at) if self._retry_at > now else deadline
            self._changed.wait(until - now)
            # Before anybody asks again: what failed while this thread waited is its to hear.
            if not self._book.turn_page(time.monotonic()):
                self._raise_if_final(overdue=False)

    def _raise_if_final(self, *, overdue: bool) -> None:
        error = self._book.error
        if overdue or isinstance(error, FINAL):
            self._retry_at = 0.0  # the next call tries again
            self._book.error = None
            raise fresh(error) if error else self._overdue()

    def _on_answer(self, answer: IdBatch | IdAllocError) -> None:
        with self._changed:
            if isinstance(answer, IdAllocError):
                self._book.failed(answer)
                self._retry_at = time.monotonic() + retry_pause(answer)
            else:
                self._book.lent(answer)
                if self._closed_by is not None:
                    self._book.give_up()
            self._changed.notify_all()


class _Raises:
    """Stands where a range would: raises a thread's error, then lets the chain go on to a range.

    There is one for all, with the errors by thread. Two threads may be between two ranges at a
    time; the chain then overwrites what it holds without letting go of it. With one object for
    each error that would be a leak, and one thread could raise what another one waited for.
    """

    def __init__(self) -> None:
        self._errors: dict[int, BaseException] = {}

    def to_this_thread(self, error: BaseException) -> Self:
        """Take the error that the calling thread is to raise next."""
        self._errors[threading.get_ident()] = error
        return self

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> int:
        error = self._errors.pop(threading.get_ident(), None)
        try:
            raise error or StopIteration
        finally:
            del error  # its traceback holds this frame


_RAISES = _Raises()
