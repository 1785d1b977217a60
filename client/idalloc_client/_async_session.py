"""Calls from the tasks of one asyncio loop, on a link that runs on that loop."""

import asyncio
import os
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pika.connection import Parameters

from idalloc_client._asyncio_loop import AsyncioSelectorLoop
from idalloc_client._calls import CallTable
from idalloc_client._coalescer import Coalescer, Waiter
from idalloc_client._errors import ClientClosedError, IdAllocError
from idalloc_client._exchange import Exchange, RawReply
from idalloc_client._link import Link
from idalloc_client._promise import settle
from idalloc_schemas import ALLOC_QUEUE

_CLOSE_TIMEOUT = 5.0  # seconds


@dataclass(slots=True, eq=False)
class _Call:
    request: Exchange[Any]
    deadline: float
    reply: "asyncio.Future[RawReply]"

    def finish(self, outcome: RawReply | IdAllocError) -> None:
        """End the call; the first outcome stands."""
        settle(self.reply, outcome)


class AsyncSession:
    """What exists once the client is used; it belongs to its loop."""

    def __init__(
        self, parameters: Parameters, max_in_flight: int, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.loop = loop
        self.pid = os.getpid()  # the process whose socket it is
        self._calls = CallTable(max_in_flight=max_in_flight)
        self._link = Link(parameters, self._calls, AsyncioSelectorLoop(loop))
        self._due: deque[Callable[[], None]] = deque()
        self.coalescer = Coalescer(
            calls=self._calls,
            call_soon=self._call_soon,
            call_later=self._link.call_later,
            max_calls=max_in_flight,
        )
        self._sweep_at = float("inf")
        self._sweep: asyncio.TimerHandle | None = None
        self._link.connect()

    def draw(self, app_tag: str, count: int | None, deadline: float) -> "asyncio.Future[Any]":
        """Draw ids: an int where `count` is None, else an `IdBatch`. `app_tag` is valid."""
        promise = self.loop.create_future()
        self.coalescer.add(app_tag, Waiter(promise, count, deadline))
        if deadline < self._sweep_at:
            self._sweep_no_later_than(deadline)
        return promise

    async def call(self, request: Exchange[Any], deadline: float) -> RawReply:
        """Send a request by itself."""
        promise: asyncio.Future[RawReply] = self.loop.create_future()
        correlation_id = self._calls.add(_Call(request, deadline, promise))
        timer = self.loop.call_later(
            deadline - time.monotonic(),
            lambda: settle(promise, self._calls.overdue(request.queue)),
        )
        try:
            return await promise
        finally:
            timer.cancel()
            self._calls.forget(correlation_id)

    async def close(self) -> None:
        """End the calls, say goodbye to the broker, and wait a bounded time for its answer."""
        self.coalescer.close(ClientClosedError("the client was closed during the call"))
        self._calls.close()
        if self._sweep is not None:
            self._sweep.cancel()
        stopped = self.loop.create_future()

        def on_stopped() -> None:
            settle(stopped, None)

        self._link.begin_stop(on_stopped)
        await asyncio.wait([stopped], timeout=_CLOSE_TIMEOUT)

    def abandon(self) -> None:
        """Disconnect without waiting; the garbage collector may call it, on any thread."""
        if self.pid == os.getpid() and not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self._link.begin_stop, _nothing)

    def _call_soon(self, callback: Callable[[], None]) -> None:
        if not self._due:
            self.loop.call_soon(self._run_due)
        self._due.append(callback)

    def _run_due(self) -> None:
        self._link.run(self._due)

    # One timer for all callers: most calls end long before their deadline.

    def _sweep_no_later_than(self, deadline: float) -> None:
        if self._sweep is not None:
            self._sweep.cancel()
        self._sweep_at = deadline
        self._sweep = self.loop.call_later(deadline - time.monotonic(), self._end_overdue)

    def _end_overdue(self) -> None:
        self._sweep, self._sweep_at = None, float("inf")
        now = time.monotonic()
        earliest = float("inf")
        for waiter in self.coalescer.waiters():
            if waiter.promise.done():
                continue
            if waiter.deadline <= now:
                settle(waiter.promise, self._calls.overdue(ALLOC_QUEUE))
            elif waiter.deadline < earliest:
                earliest = waiter.deadline
        if earliest < float("inf"):
            self._sweep_no_later_than(earliest)


def _nothing() -> None:
    """Take note of an end that nobody waits for."""
