"""Ids leased ahead, for the tasks of one asyncio loop."""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import NoReturn, Self

from idalloc_client._batch import IdBatch, PeriodError, without_period
from idalloc_client._errors import (
    ClientClosedError,
    IdAllocError,
    fresh,
)
from idalloc_client._memory import MEMORY, LeasePage
from idalloc_client._sequences._lease_buffer import LeaseBuffer, no_lease_in_time
from idalloc_client._sequences._lease_size import LeaseLimits
from idalloc_client._sequences._registry import SequenceRegistry

AsyncLease = Callable[[int], "asyncio.Future[IdBatch]"]
"""Asks for so many ids."""


class AsyncIdSequence:
    """An endless asynchronous iterator of ids of one tag; `AsyncIdClient.sequence` makes it.

    `await anext(ids)` returns an id from memory without giving the loop a turn. It waits only when
    the leased ids are used up and no more could be had, for at most the sequence's timeout, and
    then raises an `IdAllocError`; the next call tries again.
    """

    def __init__(  # noqa: PLR0913  # each is another part of its surroundings
        self,
        lease: AsyncLease,
        limits: LeaseLimits,
        timeout: float,
        registry: SequenceRegistry | None = None,
        overdue: Callable[[], IdAllocError] = no_lease_in_time,
        *,
        retry: bool = True,
    ) -> None:
        """`overdue` says why no lease came in time, `retry` whether to wait out what can pass."""
        self._lease = lease
        self._overdue = overdue
        self._timeout = timeout
        self._limits = limits
        self._retry = retry
        self._registry = registry or SequenceRegistry()
        self._closed_by: IdAllocError | None = None
        self._start()
        self._registry.add(self)

    def _start(self) -> None:
        self._process = MEMORY.process()
        page = self._process.page
        counters, now = self._registry.counters, time.monotonic()
        self._buffer = LeaseBuffer(self._limits, now, page, counters, retry=self._retry)
        self._waiting: set[asyncio.Future[None]] = set()

    @property
    def left(self) -> int:
        """How many ids can be handed out without asking a worker."""
        self._drop_copies()
        return self._buffer.remaining

    @property
    def cover(self) -> float:
        """How many seconds they last at the recent rate: how long an outage goes unnoticed."""
        self._drop_copies()
        return self._buffer.cover(time.monotonic())

    @property
    def unused(self) -> int:
        """How many leased ids were dropped: by `close`, or because memory was rolled back."""
        self._drop_copies()
        return self._buffer.unused

    @property
    def closed(self) -> bool:
        """Whether it hands out no more ids."""
        return self._closed_by is not None

    def close(self) -> None:
        """Drop all ids; every later `anext` raises `ClientClosedError`. Safe to repeat."""
        self._drop_copies()
        self._closed_by = self._closed_by or ClientClosedError("the sequence is closed")
        self._buffer.give_up()
        self._wake()

    def after_fork(self) -> None:
        """Do nothing: a child starts anew by itself, however it was forked."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> int:
        for value in self._buffer.current:
            return value
        return await self._first_of_next_range()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce_ex__(self, _protocol: object) -> NoReturn:
        # A copy, in this process or another, would hand out the same ids again.
        raise TypeError("a sequence of ids cannot be copied or pickled")

    async def _first_of_next_range(self) -> int:
        deadline = time.monotonic() + self._timeout
        while self._closed_by is None:
            self._drop_copies()
            ready = self._buffer.turn_page(time.monotonic())
            self._ask(ready=ready)
            if ready:
                return next(self._buffer.current)
            await self._wait(deadline)
        raise fresh(self._closed_by)

    def _drop_copies(self) -> None:
        """Leave ids to the parent, in a child, and give up those of before a restore."""
        if self._process.gone:
            self._start()
        self._process.look_at_clocks()
        self._buffer.start_page(self._process.page)

    def _ask(self, *, ready: bool) -> None:
        for count in self._buffer.wanted(time.monotonic(), ready=ready):
            try:
                answer = partial(self._on_answer, self._buffer.page)
                self._lease(count).add_done_callback(answer)
            except IdAllocError as error:  # the client is closed
                self._on_failure(error)
                return

    async def _wait(self, deadline: float) -> None:
        now = time.monotonic()
        self._buffer.raise_if_final(self._overdue if now >= deadline else None)
        changed = asyncio.get_running_loop().create_future()
        self._waiting.add(changed)
        try:
            await asyncio.wait([changed], timeout=self._buffer.wait_until(deadline, now) - now)
        finally:
            self._waiting.discard(changed)
        # Before anybody asks again: what failed while this task waited is its to hear.
        if self._closed_by is None and not self._buffer.turn_page(time.monotonic()):
            self._buffer.raise_if_final()

    def _on_answer(self, page: LeasePage, answer: "asyncio.Future[IdBatch]") -> None:
        error = ClientClosedError("cancelled") if answer.cancelled() else answer.exception()
        if isinstance(error, IdAllocError):
            self._on_failure(error)
            return
        ids = without_period(answer.result())  # which would end before the lease
        if isinstance(ids, PeriodError):
            self._closed_by = self._closed_by or ids  # each lease would be a gap
            self._on_failure(ids)
            return
        self._buffer.lent(ids, page)
        if self._closed_by is not None:
            self._buffer.give_up()
        self._wake()

    def _on_failure(self, error: IdAllocError) -> None:
        self._buffer.failed(error, time.monotonic())
        self._wake()

    def _wake(self) -> None:
        for changed in self._waiting:
            if not changed.done():
                changed.set_result(None)
