"""Blocking calls from any thread, on a link that runs on a thread of its own."""

import logging
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import nullcontext
from typing import Any

from idalloc_client._batch import IdBatch
from idalloc_client._batching import Batcher, ThreadPromise, Waiter, settle
from idalloc_client._clients._lone_call import LoneCall
from idalloc_client._errors import ClientClosedError, ForkedClientError, IdAllocError, unexpected
from idalloc_client._memory import MEMORY, Locks
from idalloc_client._options import ClientOptions
from idalloc_client._rpc import (
    PendingCalls,
    RawReply,
    RequestSpec,
    RestoreWatch,
    check_draw,
    gather,
)
from idalloc_client._sequences import no_lease_in_time
from idalloc_client._stats import ClientCounters, ClientStats, SequenceStats, snapshot
from idalloc_client._traces import CallTrace, begin_call
from idalloc_client.amqp import LinkThread, shuffled
from idalloc_schemas import ALLOC_QUEUE

_log = logging.getLogger("idalloc.client")

_THREAD = "idalloc-client-io"


class _Running:
    """What exists once the client is used: the thread, and what belongs to it."""

    def __init__(self, options: ClientOptions, counters: ClientCounters) -> None:
        self._process = MEMORY.process()
        self.alive = self._process.alive
        """At index 0, whether this is still the process that the thread is in."""
        self.pending = PendingCalls(options, counters)
        self.thread = LinkThread(shuffled(options.brokers), self.pending, _THREAD)
        self.pending.renew = self.thread.link.open_channel
        self.batcher = Batcher(
            pending=self.pending,
            call_soon=self.thread.link.call_soon,
            call_later=self.thread.link.call_later,
            max_calls=options.max_in_flight,
            retry=options.retry,
            before_flush=self._take_in,
        )
        self._timeout = options.timeout
        self.queues = self.batcher.queues(options.timeout)
        """Where calls that do not say otherwise wait, by tag."""
        self._inbox: deque[tuple[str, Waiter, float, CallTrace | None, bool]] = deque()
        self._woken = False

    def start(self) -> None:
        self.thread.post(RestoreWatch(self.thread.link, self._process).look)
        self.thread.start()

    def enter(
        self,
        app_tag: str,
        timeout: float,
        waiter: Waiter,
        trace: CallTrace | None = None,
        *,
        lease: bool = False,
    ) -> None:
        """Let a caller in, from any thread.

        Where the tag's requests are all on their way, the thread is not woken: it looks here when
        the first of them comes back. It marks the queue as not full before it looks, and callers
        come in before they look at the queue, so that nobody is overlooked.
        """
        self._inbox.append((app_tag, waiter, timeout, trace, lease))
        queue = self.queues.get(app_tag)
        if queue is not None and queue.full and timeout == self._timeout and waiter[1] is None:
            return
        if not self._woken:
            try:
                self._woken = True
                self.thread.post(self._take_in)
            except BaseException:  # Ctrl-C just here: nobody else would wake the thread any more
                self.thread.post(self._take_in)
                raise

    def close(self) -> None:
        """End every call, on the thread."""
        self._take_in()
        error = ClientClosedError("the client was closed during the call")
        self.batcher.close(error)
        self.pending.close(error)

    def _take_in(self) -> None:
        self._woken = False  # first, so that who comes in from now on wakes the thread again
        inbox, add = self._inbox, self.batcher.add
        while inbox:
            app_tag, waiter, timeout, trace, lease = inbox.popleft()
            try:
                add(app_tag, waiter, timeout, trace, lease=lease)
            except Exception as error:  # noqa: BLE001  # those behind this one are not at fault
                settle(waiter[0], unexpected(error))


class LinkSession:
    """A `Session` over a link; every method may be called from any thread."""

    def __init__(self, options: ClientOptions) -> None:
        self._options = options
        self._locks = Locks()
        self._closed = False
        self._counters = ClientCounters()
        self._running: _Running | None = None
        self._process = MEMORY.process()

    @property
    def closed(self) -> bool:
        return self._closed

    def draw(self, app_tag: str, count: int | None, timeout: float) -> Any:
        running = self._running
        if running is None or not running.alive[0]:
            running = self._start()
        if count is not None or type(app_tag) is not str or app_tag not in running.queues:
            check_draw(app_tag, 1 if count is None else count)
        promise = ThreadPromise()
        waiter = promise, count, time.monotonic() + timeout
        trace = None if begin_call is None else begin_call(ALLOC_QUEUE, app_tag, count or 1)
        if trace is None:
            running.enter(app_tag, timeout, waiter)
            return self._wait(running, promise, timeout)
        with trace:
            running.enter(app_tag, timeout, waiter, trace)
            return self._wait(running, promise, timeout)

    def draw_later(
        self,
        app_tag: str,
        count: int,
        timeout: float,
        on_answer: Callable[[IdBatch | IdAllocError], None],
    ) -> None:
        promise: Future[Any] = Future()
        promise.add_done_callback(lambda done: on_answer(done.exception() or done.result()))  # type: ignore[arg-type]  # what settles it
        try:
            running = self._mine() or self._start()
        except IdAllocError as error:
            settle(promise, error)
            return
        trace = None if begin_call is None else begin_call(ALLOC_QUEUE, app_tag, count)
        if trace is not None:
            promise.add_done_callback(trace.on_done)
        deadline = time.monotonic() + timeout
        running.enter(app_tag, timeout, (promise, count, deadline), trace, lease=True)
        if self._closed:  # meanwhile, so that the thread may not get to it any more
            settle(promise, ClientClosedError("the client is closed"))

    def call(self, spec: RequestSpec[Any], timeout: float) -> RawReply:
        running = self._mine() or self._start()
        promise = ThreadPromise()
        trace = None if begin_call is None else begin_call(spec.queue, None, 0)
        carrier = None if trace is None else trace.carrier([trace])
        deadline = time.monotonic() + timeout
        call_later = running.thread.link.call_later
        call = LoneCall(
            *(spec, deadline, promise, carrier, running.pending),
            call_later if self._options.retry else None,
        )
        running.thread.post(lambda: call.begin(call_later))
        try:
            with trace or nullcontext():
                reply: RawReply = self._wait(running, promise, timeout, call)
        finally:
            running.thread.post(call.forget)
        return reply

    def gather(self, spec: RequestSpec[Any], within: float) -> list[RawReply]:
        running = self._mine() or self._start()
        return gather(running.thread.post, running.pending, spec, within, time.monotonic())

    def overdue(self) -> IdAllocError:
        running = self._mine()
        return running.pending.overdue(ALLOC_QUEUE) if running else no_lease_in_time()

    def stats(self, sequences: SequenceStats) -> ClientStats:
        running = self._mine()
        return snapshot(
            self._counters,
            waiting=running.batcher.calls if running else 0,
            connected=running is not None and running.pending.connected,
            sequences=sequences,
        )

    def close(self, timeout: float) -> None:
        if self._closed:
            return
        self._mine()
        with self._locks.mine():
            self._closed = True
            running, self._running = self._running, None
        if running is None:
            return  # never used in this process
        running.thread.post(running.close)
        if not running.thread.stop(timeout):
            _log.warning("Thread %s did not stop within %g s", _THREAD, timeout)

    def _mine(self) -> _Running | None:
        """Return what runs in this process; what the parent has is the parent's."""
        if self._process.gone:
            with self._locks.mine():
                if self._process.gone:
                    self._counters = ClientCounters()
                    self._running = None
                    self._process = MEMORY.process()
        return self._running

    def _wait(
        self,
        running: _Running,
        promise: ThreadPromise,
        timeout: float,
        call: LoneCall | None = None,
    ) -> Any:
        if self._closed:  # meanwhile, so that the thread may not get to it any more
            settle(promise, ClientClosedError("the client is closed"))
        try:
            answered = promise.wait(timeout)
        finally:
            promise.cancel()  # its time is up, or it is interrupted
        if not running.alive[0]:  # a signal handler has forked: the parent has the same answer
            raise ForkedClientError
        if answered:
            return promise.outcome()
        error = running.batcher.overdue(promise) if call is None else call.overdue()
        if call is None:  # only calls for ids are counted
            running.thread.post(lambda: running.pending.counters.overdue(error))
        raise error from error.__cause__

    def _start(self) -> _Running:
        self._mine()
        with self._locks.mine():
            if self._closed:
                raise ClientClosedError("the client is closed")
            if self._running is None:
                running = _Running(self._options, self._counters)
                running.start()
                self._running = running
            return self._running
