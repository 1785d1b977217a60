"""Calls from the tasks of one asyncio loop, on a link that runs on that loop."""

import asyncio
import contextlib
from asyncio import CancelledError
from collections import deque
from collections.abc import Callable, Generator
from sys import modules
from threading import get_ident
from time import monotonic
from types import coroutine
from typing import Any

from idalloc_client._batch import IdBatch
from idalloc_client._batching import Batcher, TaskPromise, TaskWaker, settle
from idalloc_client._clients._lone_call import LoneCall
from idalloc_client._errors import ClientClosedError, IdAllocError
from idalloc_client._memory import MEMORY
from idalloc_client._options import ClientOptions
from idalloc_client._rpc import FleetReplies, PendingCalls, RawReply, RequestSpec, RestoreWatch
from idalloc_client._stats import ClientCounters
from idalloc_client._traces import OPENTELEMETRY, begin_call, context_here
from idalloc_client.amqp import GOODBYE_TIME, AsyncioSelectorLoop, Link, nothing, shuffled
from idalloc_schemas import ALLOC_QUEUE


class AsyncLinkSession:
    """An `AsyncSession` over a link; it belongs to its loop."""

    def __init__(
        self,
        options: ClientOptions,
        counters: ClientCounters,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.loop = loop
        self._thread_id = get_ident()
        self._process = MEMORY.process()
        self.alive = self._process.alive
        self._waker = TaskWaker(loop)
        self._pending = PendingCalls(options, counters)
        self._selector = AsyncioSelectorLoop(loop)
        self._link = Link(shuffled(options.brokers), self._pending, self._selector)
        self._pending.renew = self._link.open_channel
        self._due: deque[Callable[[], None]] = deque()
        self.batcher = Batcher(
            pending=self._pending,
            call_soon=self._call_soon,
            call_later=self._link.call_later,
            max_calls=options.max_in_flight,
            retry=options.retry,
        )
        self._retry = options.retry
        self._timeout = options.timeout
        self._queues = self.batcher.queues(options.timeout)
        """Where calls that do not say otherwise wait, by tag."""
        self._sweep_at = float("inf")
        """The first deadline that a timer is set for; `_sweep_no_later_than` brings it forward."""
        self._sweep: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._link.connect()
        RestoreWatch(self._link, self._process).look()

    @property
    def connected(self) -> bool:
        return self._pending.connected

    @property
    def waiting(self) -> int:
        return self.batcher.calls

    def overdue(self) -> IdAllocError:
        return self._pending.overdue(ALLOC_QUEUE)

    @coroutine
    def ask(self, app_tag: str) -> Generator[TaskPromise, None, int | None]:
        """Draw one id as `draw` does; None where the tag was not met yet, or `draw` has more to do.

        The way of most calls, as short as it can be made: without it an id of 100 tasks costs 2.2
        times the CPU.
        """
        if not self.alive[0] or type(app_tag) is not str:
            return None
        queue = self._queues.get(app_tag)
        if queue is None or (OPENTELEMETRY in modules and context_here and context_here()):
            return None
        if queue.eager and self._thread_id != get_ident():
            return None  # who is not the first is told by asyncio, and takes itself back
        promise = self._waker.promise()
        deadline = monotonic() + self._timeout
        try:
            if not queue.join(promise, deadline):
                self.batcher.refuse(promise)
            elif deadline < self._sweep_at:
                self._sweep_no_later_than(deadline)
            yield promise
        except (CancelledError, RuntimeError):
            # A RuntimeError is asyncio's, for a loop that is closed, or is not the task's own.
            promise.cancel()
            queue.single = False  # one who waits has gone
            raise
        return promise.outcome  # type: ignore[no-any-return]

    def draw(self, app_tag: str, count: int | None, timeout: float) -> "asyncio.Future[Any]":
        return self._add(app_tag, count, timeout, lease=False)

    def lease(self, app_tag: str, count: int, timeout: float) -> "asyncio.Future[IdBatch]":
        return self._add(app_tag, count, timeout, lease=True)

    def _add(
        self, app_tag: str, count: int | None, timeout: float, *, lease: bool
    ) -> "asyncio.Future[Any]":
        promise = self.loop.create_future()
        deadline = monotonic() + timeout
        trace = None if begin_call is None else begin_call(ALLOC_QUEUE, app_tag, count or 1)
        if trace is not None:
            promise.add_done_callback(trace.on_done)
        self.batcher.add(app_tag, (promise, count, deadline), timeout, trace, lease=lease)
        if deadline < self._sweep_at:
            self._sweep_no_later_than(deadline)
        return promise

    async def call(self, spec: RequestSpec[Any], timeout: float) -> RawReply:  # noqa: ASYNC109  # it travels along
        promise: asyncio.Future[RawReply] = self.loop.create_future()
        trace = None if begin_call is None else begin_call(spec.queue, None, 0)
        carrier = None
        if trace is not None:
            promise.add_done_callback(trace.on_done)
            carrier = trace.carrier([trace])
        call_later = self._link.call_later if self._retry else None
        call = LoneCall(spec, monotonic() + timeout, promise, carrier, self._pending, call_later)
        call.begin(self._link.call_later)
        timer = self.loop.call_later(timeout, lambda: settle(promise, call.overdue()))
        try:
            return await promise
        finally:
            timer.cancel()
            call.forget()

    async def gather(self, spec: RequestSpec[Any], within: float) -> list[RawReply]:
        ended = asyncio.Event()
        collecting = FleetReplies(self._pending, spec, monotonic() + within, ended.set)
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
            await asyncio.wait([asyncio.wrap_future(there)], timeout=2 * GOODBYE_TIME)
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
        await stopped

    def _end_calls(self) -> None:
        for end in (self.batcher.close, self._pending.close):
            with contextlib.suppress(RuntimeError):  # callers of a loop that is closed
                end(ClientClosedError("the client was closed during the call"))
        if self._sweep is not None:
            self._sweep.cancel()

    def abandon(self) -> None:
        if self.alive[0] and not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self._link.begin_stop, nothing)

    def _call_soon(self, callback: Callable[[], None]) -> None:
        if not self._due:
            self.loop.call_soon(self._run_due)
        self._due.append(callback)

    def _run_due(self) -> None:
        due, self._due = self._due, deque()  # what these ask for is for the next turn
        self._link.run(due)

    # One timer for all callers: most calls end long before their deadline.

    def _sweep_no_later_than(self, deadline: float) -> None:
        if self._sweep is not None:
            self._sweep.cancel()
        self._sweep_at = deadline
        self._sweep = self.loop.call_later(deadline - monotonic(), self._end_overdue)

    def _end_overdue(self) -> None:
        self._sweep, self._sweep_at = None, float("inf")
        now = monotonic()
        earliest = float("inf")
        for promise, _, deadline in self.batcher.waiters():
            if promise.done():
                continue
            if deadline <= now:
                error = self.batcher.overdue(promise)
                self.batcher.counters.overdue(error)
                settle(promise, error)
                self.batcher.some_have_gone()
            elif deadline < earliest:
                earliest = deadline
        if earliest < float("inf"):
            self._sweep_no_later_than(earliest)
