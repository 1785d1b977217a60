"""Ids at the speed of a counter: leased ahead in batches, handed out by C code.

`next()` on a sequence runs no Python: the sequence is an `itertools.chain` of chunks of ids, which
a page of memory lets out one by one (`_memory.py`), and only between two chunks is `_Source` asked
for the next one. Measured beside `itertools.count`, anything written in Python would be several
times slower.
"""

import itertools
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NoReturn, Self, TypeVar, cast

from idalloc_client._batch import IdBatch, PeriodError, without_period
from idalloc_client._errors import (
    ClientClosedError,
    IdAllocError,
    fresh,
)
from idalloc_client._memory import MEMORY, LeasePage, Locks
from idalloc_client._sequences._lease_buffer import LeaseBuffer, no_lease_in_time
from idalloc_client._sequences._lease_size import LeaseLimits
from idalloc_client._sequences._registry import SequenceRegistry
from idalloc_client._stats import LeaseCounters

_Value = TypeVar("_Value")

Lease = Callable[[int, Callable[[IdBatch | IdAllocError], None]], None]
"""Asks for so many ids, and calls back from another thread, once."""


class IdSequence(itertools.chain[int]):
    """An endless iterator of ids of one tag; `IdClient.sequence` makes it. Threads may share it.

    `next(ids)` returns an id from memory. It waits only when the leased ids are used up and no more
    could be had, for at most the sequence's timeout, and then raises an `IdAllocError`; the next
    call tries again.
    """

    _supply: "_Supply"

    @property
    def left(self) -> int:
        """How many ids can be handed out without asking a worker."""
        return self._supply.source().read(lambda leases: leases.remaining)

    @property
    def cover(self) -> float:
        """How many seconds they last at the recent rate: how long an outage goes unnoticed."""
        return self._supply.source().read(lambda leases: leases.cover(time.monotonic()))

    @property
    def unused(self) -> int:
        """How many leased ids were dropped: by `close`, or because memory was rolled back."""
        return self._supply.source().read(lambda leases: leases.unused)

    @property
    def closed(self) -> bool:
        """Whether it hands out no more ids."""
        return self._supply.source().closed

    def close(self) -> None:
        """Drop all ids; every later `next` raises `ClientClosedError`. Safe to repeat."""
        self._supply.source().close(ClientClosedError("the sequence is closed"))

    def after_fork(self) -> None:
        """Do nothing: a child starts anew by itself, however it was forked."""

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


class _LockedIdSequence(IdSequence):
    """For an interpreter without a global lock: there no iterator in C may be shared."""

    def __next__(self) -> int:
        return self._supply.source().next_id()


def new_sequence(  # noqa: PLR0913, PLR0917  # each is another part of its surroundings
    lease: Lease,
    limits: LeaseLimits,
    timeout: float,
    registry: SequenceRegistry | None = None,
    overdue: Callable[[], IdAllocError] = no_lease_in_time,
    locked: bool | None = None,  # noqa: FBT001
    *,
    retry: bool = True,
) -> IdSequence:
    """Make a sequence; nothing is leased before its first use. `overdue` says why no lease came.

    `retry` says whether `next` goes on waiting where a refusal can pass, and `locked` whether
    threads need a lock for each id; by default the interpreter tells.
    """
    registry = registry or SequenceRegistry()

    def source() -> _Source:
        return _Source(lease, limits, timeout, registry.counters, overdue, retry=retry)

    supply = _Supply(source)
    kind = _LockedIdSequence if (_no_global_lock() if locked is None else locked) else IdSequence
    ids = cast(IdSequence, kind.from_iterable(supply))  # of the class that it is called on
    ids._supply = supply  # noqa: SLF001  # chain has no place for it in its constructor
    registry.add(ids)
    return ids


def _no_global_lock() -> bool:
    return not getattr(sys, "_is_gil_enabled", lambda: True)()


class _Supply:
    """Has the ids of a sequence come from a source of this process: a child has one of its own."""

    def __init__(self, new_source: Callable[[], "_Source"]) -> None:
        self._new_source = new_source
        self._locks = Locks()
        self._source = new_source()

    def source(self) -> "_Source":
        source = self._source
        if source.process.gone:
            with self._locks.mine():
                source = self._source
                if source.process.gone:
                    source = self._source = self._source.for_child(self._new_source())
        return source

    def __iter__(self) -> "_Supply":
        return self

    def __next__(self) -> Iterator[int]:
        # An exception that left here would end the chain for ever, so it is wrapped.
        try:
            return self.source().next_range()
        except BaseException as error:  # noqa: BLE001  # also KeyboardInterrupt
            return _RAISES.to_this_thread(error)


class _Source:
    """Gives a process one chunk of ids after the other. Its lock guards the buffer."""

    def __init__(  # noqa: PLR0913  # each is another part of its surroundings
        self,
        lease: Lease,
        limits: LeaseLimits,
        timeout: float,
        counters: LeaseCounters,
        overdue: Callable[[], IdAllocError],
        *,
        retry: bool,
    ) -> None:
        self._lease = lease
        self._overdue = overdue
        self._timeout = timeout
        self.process = MEMORY.process()
        page, now = self.process.page, time.monotonic()
        self._buffer = LeaseBuffer(limits, now, page, counters, retry=retry)
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._closed_by: IdAllocError | None = None

    def for_child(self, heir: "_Source") -> "_Source":
        """Have a source go on in a child: all ids are left to the parent."""
        heir._closed_by = self._closed_by  # noqa: SLF001  # one of its kind
        return heir

    def read(self, what: Callable[[LeaseBuffer], _Value]) -> _Value:
        """Look at the leases, those of before a restore given up."""
        with self._changed:
            self._buffer.start_page(self.process.page)
            return what(self._buffer)

    @property
    def closed(self) -> bool:
        return self._closed_by is not None

    def close(self, error: IdAllocError) -> None:
        with self._changed:
            self._closed_by = self._closed_by or error
            self._buffer.give_up()
            self._changed.notify_all()

    def next_id(self) -> int:
        while True:
            with self._lock:
                for value in self._buffer.current:
                    return value
            self.next_range()

    def next_range(self) -> Iterator[int]:
        """Give the ids to hand out now. Raises an `IdAllocError` when the time is over."""
        deadline = time.monotonic() + self._timeout
        while True:
            self.process.look_at_clocks()
            with self._changed:
                if self._closed_by is not None:
                    raise fresh(self._closed_by)
                self._buffer.start_page(self.process.page)
                # A range that is not used up was put there by another thread meanwhile.
                ready = self._buffer.turn_page(time.monotonic())
                wanted = list(self._buffer.wanted(time.monotonic(), ready=ready))
                if ready and not wanted:
                    return self._buffer.current
                page = self._buffer.page
            for count in wanted:  # not under the lock: the answer may come at once
                self._lease(count, partial(self._on_answer, page))
            if not ready:
                self._wait(deadline)

    def _wait(self, deadline: float) -> None:
        with self._changed:
            if self._buffer.turn_page(time.monotonic()) or self._closed_by is not None:
                return
            now = time.monotonic()
            self._buffer.raise_if_final(self._overdue if now >= deadline else None)
            self._changed.wait(self._buffer.wait_until(deadline, now) - now)
            # Before anybody asks again: what failed while this thread waited is its to hear.
            if not self._buffer.turn_page(time.monotonic()):
                self._buffer.raise_if_final()

    def _on_answer(self, page: LeasePage, answer: IdBatch | IdAllocError) -> None:
        answer = without_period(answer)  # which would end before the lease
        with self._changed:
            if isinstance(answer, PeriodError):
                self._closed_by = self._closed_by or answer  # each lease would be a gap
            if isinstance(answer, IdAllocError):
                self._buffer.failed(answer, time.monotonic())
            else:
                self._buffer.lent(answer, page)
                if self._closed_by is not None:
                    self._buffer.give_up()
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
