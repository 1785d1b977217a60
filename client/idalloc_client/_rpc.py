"""Blocking calls from any thread, on a link that runs on a thread of its own."""

import logging
import os
import threading
import time
from concurrent.futures import Future, InvalidStateError
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field
from typing import Any

from pika.connection import Parameters

from idalloc_client._calls import CallTable
from idalloc_client._errors import ClientClosedError, ForkedClientError, IdAllocError
from idalloc_client._exchange import Exchange, RawReply
from idalloc_client._link_thread import LinkThread

_log = logging.getLogger("idalloc.client")

_THREAD = "idalloc-client-io"


@dataclass(slots=True, eq=False)
class _BlockingCall:
    request: Exchange[Any]
    deadline: float
    correlation_id: str = ""
    reply: "Future[RawReply]" = field(default_factory=Future)

    def finish(self, outcome: RawReply | IdAllocError) -> None:
        """End the call; the first outcome stands."""
        try:
            if isinstance(outcome, IdAllocError):
                self.reply.set_exception(outcome)
            else:
                self.reply.set_result(outcome)
        except InvalidStateError:
            pass


class RpcClient:
    """Sends requests and waits for replies; every method may be called from any thread."""

    def __init__(self, parameters: Parameters, *, max_in_flight: int) -> None:
        self._parameters = parameters
        self._calls = CallTable(max_in_flight=max_in_flight)
        self._start_lock = threading.Lock()
        self._thread: LinkThread | None = None
        self._owner_pid: int | None = None  # the process whose socket it is
        self._closed = False

    def call(self, request: Exchange[Any], deadline: float) -> RawReply:
        """Send a request and wait for its reply, until `deadline` in monotonic seconds."""
        thread = self._usable_thread()
        call = _BlockingCall(request, deadline)

        def add() -> None:
            call.correlation_id = self._calls.add(call)

        thread.post(add)
        if self._closed:  # meanwhile, so that the thread may not get to it any more
            call.finish(ClientClosedError("the client is closed"))
        try:
            return call.reply.result(max(deadline - time.monotonic(), 0.0))
        except FutureTimeoutError:
            thread.post(lambda: self._calls.forget(call.correlation_id))
            raise self._calls.overdue(call) from self._calls.lost_reason

    def close(self, timeout: float) -> None:
        """End every call with `ClientClosedError`, then the connection. Safe to repeat."""
        if self._closed:
            return
        with self._start_lock:
            self._closed = True
        if self._thread is None or self._owner_pid != os.getpid():
            return  # never used, or the parent's
        self._thread.post(self._calls.close)
        if not self._thread.stop(timeout):
            _log.warning("Thread %s did not stop within %g s", _THREAD, timeout)

    def _usable_thread(self) -> LinkThread:
        if self._owner_pid is not None and self._owner_pid != os.getpid():
            raise ForkedClientError
        if self._closed:
            raise ClientClosedError("the client is closed")
        return self._thread or self._start()

    def _start(self) -> LinkThread:
        with self._start_lock:
            if self._closed:
                raise ClientClosedError("the client is closed")
            if self._thread is None:
                self._owner_pid = os.getpid()
                thread = LinkThread(self._parameters, self._calls, _THREAD)
                thread.start()
                self._thread = thread
            return self._thread
