"""Blocking calls from any thread, on a link that runs on a thread of its own."""

import logging
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pika.connection import Parameters

from idalloc_client._batch import IdBatch
from idalloc_client._calls import CallTable
from idalloc_client._coalescer import Coalescer, Waiter
from idalloc_client._errors import ClientClosedError, ForkedClientError, IdAllocError
from idalloc_client._exchange import Exchange, RawReply
from idalloc_client._link_thread import LinkThread
from idalloc_client._promise import settle
from idalloc_schemas import ALLOC_QUEUE

_log = logging.getLogger("idalloc.client")

_THREAD = "idalloc-client-io"

_Result = TypeVar("_Result")


@dataclass(slots=True, eq=False)
class _BlockingCall:
    request: Exchange[Any]
    deadline: float
    correlation_id: str = ""
    reply: "Future[RawReply]" = field(default_factory=Future)

    def finish(self, outcome: RawReply | IdAllocError) -> None:
        """End the call; the first outcome stands."""
        settle(self.reply, outcome)


class _Running:
    """What exists once the client is used: the thread, and what belongs to it."""

    def __init__(self, parameters: Parameters, max_in_flight: int) -> None:
        self.calls = CallTable(max_in_flight=max_in_flight)
        self.thread = LinkThread(parameters, self.calls, _THREAD)
        self.coalescer = Coalescer(
            calls=self.calls,
            call_soon=self.thread.link.call_soon,
            call_later=self.thread.link.call_later,
            max_calls=max_in_flight,
        )
        self.pid = os.getpid()  # the process whose socket it is

    def close(self) -> None:
        """End every call, on the thread."""
        self.coalescer.close(ClientClosedError("the client was closed during the call"))
        self.calls.close()


class RpcClient:
    """Sends requests and waits for replies; every method may be called from any thread."""

    def __init__(self, parameters: Parameters, *, max_in_flight: int) -> None:
        self._parameters = parameters
        self._max_in_flight = max_in_flight
        self._start_lock = threading.Lock()
        self._running: _Running | None = None
        self._closed = False

    def draw(self, app_tag: str, count: int | None, deadline: float) -> Any:
        """Draw ids: an int where `count` is None, else an `IdBatch`. `app_tag` is valid."""
        running = self._usable()
        promise: Future[Any] = Future()
        waiter = Waiter(promise, count, deadline)
        running.thread.post(lambda: running.coalescer.add(app_tag, waiter))
        return self._wait(running, promise, deadline, ALLOC_QUEUE, promise.cancel)

    def draw_later(
        self,
        app_tag: str,
        count: int,
        timeout: float,
        on_answer: Callable[[IdBatch | IdAllocError], None],
    ) -> None:
        """Draw ids in the background; `on_answer` is called once, on whatever thread."""
        promise: Future[IdBatch] = Future()
        promise.add_done_callback(lambda done: on_answer(_outcome(done)))
        try:
            running = self._usable()
        except IdAllocError as error:
            settle(promise, error)
            return
        waiter = Waiter(promise, count, time.monotonic() + timeout)
        running.thread.post(lambda: running.coalescer.add(app_tag, waiter))
        if self._closed:  # meanwhile, so that the thread may not get to it any more
            settle(promise, ClientClosedError("the client is closed"))

    def call(self, request: Exchange[Any], deadline: float) -> RawReply:
        """Send a request and wait for its reply, until `deadline` in monotonic seconds."""
        running = self._usable()
        call = _BlockingCall(request, deadline)

        def add() -> None:
            call.correlation_id = running.calls.add(call)

        def give_up() -> None:
            running.thread.post(lambda: running.calls.forget(call.correlation_id))

        running.thread.post(add)
        return self._wait(running, call.reply, deadline, request.queue, give_up)

    def close(self, timeout: float) -> None:
        """End every call with `ClientClosedError`, then the connection. Safe to repeat."""
        if self._closed:
            return
        with self._start_lock:
            self._closed = True
        running = self._running
        if running is None or running.pid != os.getpid():
            return  # never used, or the parent's
        running.thread.post(running.close)
        if not running.thread.stop(timeout):
            _log.warning("Thread %s did not stop within %g s", _THREAD, timeout)

    def _wait(
        self,
        running: _Running,
        promise: "Future[_Result]",
        deadline: float,
        queue: str,
        give_up: Callable[[], object],
    ) -> _Result:
        if self._closed:  # meanwhile, so that the thread may not get to it any more
            settle(promise, ClientClosedError("the client is closed"))
        try:
            return promise.result(max(deadline - time.monotonic(), 0.0))
        except FutureTimeoutError:
            error = running.calls.overdue(queue)
            raise error from error.__cause__
        finally:
            if not promise.done() or promise.cancelled():  # its time is up, or it is interrupted
                give_up()

    def _usable(self) -> _Running:
        running = self._running
        if running is not None and running.pid != os.getpid():
            raise ForkedClientError
        if self._closed:
            raise ClientClosedError("the client is closed")
        return running or self._start()

    def _start(self) -> _Running:
        with self._start_lock:
            if self._closed:
                raise ClientClosedError("the client is closed")
            if self._running is None:
                running = _Running(self._parameters, self._max_in_flight)
                running.thread.start()
                self._running = running
            return self._running


def _outcome(done: "Future[IdBatch]") -> IdBatch | IdAllocError:
    error = done.exception()
    if error is None:
        return done.result()
    return error if isinstance(error, IdAllocError) else IdAllocError(str(error))
