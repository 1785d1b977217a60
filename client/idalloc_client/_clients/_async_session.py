"""Calls from the tasks of one asyncio loop, on a link that runs on that loop."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from threading import get_ident
from typing import Any

from idalloc_client._batching import Coalescer, settle
from idalloc_client._errors import ClientClosedError, IdAllocError
from idalloc_client._memory import MEMORY
from idalloc_client._rpc import CallTable, Exchange, FleetReplies, RawReply, RestoreWatch
from idalloc_client._stats import Carrier, Tallies, capture
from idalloc_client.amqp import AsyncioSelectorLoop, Link, Parameters, nothing, user_id
from idalloc_schemas import ALLOC_QUEUE

_CLOSE_TIMEOUT = 5.0  # seconds


@dataclass(slots=True, eq=False)
class _Call:
    request: Exchange[Any]
    deadline: float
    reply: "asyncio.Future[RawReply]"
    carrier: Carrier | None = None

    def finish(self, outcome: RawReply | IdAllocError) -> None:
        """End the call; the first outcome stands."""
        settle(self.reply, outcome)


class AsyncSession:
    """What exists once the client is used; it belongs to its loop."""

    def __init__(  # noqa: PLR0913  # each is another part of its surroundings
        self,
        parameters: Parameters,
        max_in_flight: int,
        timeout: float,
        tallies: Tallies,
        loop: asyncio.AbstractEventLoop,
        *,
        exchange: str = "",
        workers: frozenset[bytes] = frozenset(),
    ) -> None:
        """`timeout` is that of calls that do not say, in seconds."""
        self.loop = loop
        self.thread_id = get_ident()
        self.process = MEMORY.process()
        self.alive = self.process.alive
        """At index 0, whether this is still the process of the loop."""
        self.create_future = loop.create_future
        self._calls = CallTable(
            max_in_flight=max_in_flight,
            user_id=user_id(parameters),
            exchange=exchange,
            workers=workers,
            tallies=tallies,
        )
        self._selector = AsyncioSelectorLoop(loop)
        self._link = Link(parameters, self._calls, self._selector)
        self._due: deque[Callable[[], None]] = deque()
        self.coalescer = Coalescer(
            calls=self._calls,
            call_soon=self._call_soon,
            call_later=self._link.call_later,
            max_calls=max_in_flight,
        )
        self.lanes = self.coalescer.lanes(timeout)
        """Where calls that do not say otherwise wait, by tag."""
        self.sweep_at = float("inf")
        """The first deadline that a timer is set for; `sweep_no_later_than` brings it forward."""
        self._sweep: asyncio.TimerHandle | None = None
        self._link.connect()
        RestoreWatch(self._link, self.process).look()

    @property
    def connected(self) -> bool:
        """Whether requests leave at once."""
        return self._calls.connected

    @property
    def waiting(self) -> int:
        """How many calls wait."""
        return self.coalescer.calls

    def overdue(self) -> IdAllocError:
        """Say why ids that were asked for are not there in time."""
        return self._calls.overdue(ALLOC_QUEUE)

    def draw(self, app_tag: str, count: int | None, timeout: float) -> "asyncio.Future[Any]":
        """Draw ids: an int where `count` is None, else an `IdBatch`. `app_tag` is valid."""
        promise = self.create_future()
        deadline = time.monotonic() + timeout
        carrier = None if capture is None else capture()
        self.coalescer.add(app_tag, (promise, count, deadline), timeout, carrier)
        if deadline < self.sweep_at:
            self.sweep_no_later_than(deadline)
        return promise

    async def call(self, request: Exchange[Any], timeout: float) -> RawReply:  # noqa: ASYNC109  # it travels along
        """Send a request by itself."""
        promise: asyncio.Future[RawReply] = self.create_future()
        call = _Call(request, time.monotonic() + timeout, promise)
        if capture is not None:
            call.carrier = capture()
        correlation_id = self._calls.add(call)
        timer = self.loop.call_later(
            timeout,
            lambda: settle(promise, self._calls.overdue(request.queue)),
        )
        try:
            return await promise
        finally:
            timer.cancel()
            self._calls.forget(correlation_id)

    async def gather(self, request: Exchange[Any], within: float) -> list[RawReply]:
        """Send a request that several answer, and collect replies for so many seconds."""
        ended = asyncio.Event()
        collecting = FleetReplies(self._calls, request, time.monotonic() + within, ended.set)
        collecting.start()
        try:
            await asyncio.wait_for(ended.wait(), within)
        except TimeoutError:
            pass  # as it should be
        finally:
            collecting.stop()
        return collecting.outcome()

    async def close(self) -> None:
        """End the calls, say goodbye to the broker, and wait a bounded time for its answer.

        On another loop than its own this asks its own; one that runs no more leaves the
        connection to the other.
        """
        running = asyncio.get_running_loop()
        if self.loop is not running and self.loop.is_running():
            there = asyncio.run_coroutine_threadsafe(self._close_here(), self.loop)
            await asyncio.wait([asyncio.wrap_future(there)], timeout=2 * _CLOSE_TIMEOUT)
            return
        if self.loop is not running:
            self.loop = running
            self._selector.move_to(running)
        await self._close_here()

    async def _close_here(self) -> None:
        self._end_calls()
        stopped = self.loop.create_future()

        def on_stopped() -> None:
            settle(stopped, None)

        # In a turn, whose end sends also what a loop that has ended did not get to.
        self._link.run(deque([lambda: self._link.begin_stop(on_stopped)]))
        await asyncio.wait([stopped], timeout=_CLOSE_TIMEOUT)

    def _end_calls(self) -> None:
        for end in (self.coalescer.close, self._calls.close):
            with contextlib.suppress(RuntimeError):  # callers of a loop that is closed
                end(ClientClosedError("the client was closed during the call"))
        if self._sweep is not None:
            self._sweep.cancel()

    def abandon(self) -> None:
        """Disconnect without waiting; the garbage collector may call it, on any thread."""
        if not self.process.gone and not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self._link.begin_stop, nothing)

    def _call_soon(self, callback: Callable[[], None]) -> None:
        if not self._due:
            self.loop.call_soon(self._run_due)
        self._due.append(callback)

    def _run_due(self) -> None:
        due, self._due = self._due, deque()  # what these ask for is for the next turn
        self._link.run(due)

    # One timer for all callers: most calls end long before their deadline.

    def sweep_no_later_than(self, deadline: float) -> None:
        if self._sweep is not None:
            self._sweep.cancel()
        self.sweep_at = deadline
        self._sweep = self.loop.call_later(deadline - time.monotonic(), self._end_overdue)

    def _end_overdue(self) -> None:
        self._sweep, self.sweep_at = None, float("inf")
        now = time.monotonic()
        earliest = float("inf")
        for promise, _, deadline in self.coalescer.waiters():
            if promise.done():
                continue
            if deadline <= now:
                error = self._calls.overdue(ALLOC_QUEUE)
                self.coalescer.tallies.overdue(error)
                settle(promise, error)
                self.coalescer.some_have_left()
            elif deadline < earliest:
                earliest = deadline
        if earliest < float("inf"):
            self.sweep_no_later_than(earliest)
