"""Calls over RabbitMQ's direct reply-to: many in flight, each with its own deadline."""

import logging
import math
import os
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pika
from pika.channel import Channel
from pika.connection import Parameters
from pika.spec import Basic, BasicProperties

from idalloc_client._errors import (
    CallTimeoutError,
    ClientClosedError,
    ConnectionLostError,
    ForkedClientError,
    IdAllocError,
    NoRouteError,
    TooManyCallsError,
)
from idalloc_client._exchange import Exchange, RawReply
from idalloc_client._link import Link
from idalloc_client._reason import describe
from idalloc_schemas import CONTENT_TYPE

_log = logging.getLogger("idalloc.client")

_REPLY_TO = "amq.rabbitmq.reply-to"
_MAX_EXPIRATION_MS = 2**32 - 1  # the broker refuses a longer one


@dataclass(slots=True, eq=False)
class _Call:
    correlation_id: str
    request: Exchange[Any]
    deadline: float
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
    """Sends requests and matches replies, on one connection that its link keeps open.

    `call` and `close` may be used from any thread. The table of calls belongs to the link's thread.
    """

    def __init__(
        self,
        parameters: Parameters,
        *,
        max_in_flight: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._max_in_flight = max_in_flight
        self._link = Link(parameters, self, thread_name="idalloc-client-io")
        self._start_lock = threading.Lock()
        self._owner_pid: int | None = None  # the process whose socket it is, once started
        self._closed = False
        self._numbers = count(1)
        self._prefix = uuid.uuid4().hex
        self._calls: dict[str, _Call] = {}
        self._channel: Channel | None = None
        self._blocked = False
        self._lost_reason: BaseException | None = None

    # From any thread

    def start(self) -> None:
        """Connect in the background; does nothing the second time."""
        if self._owner_pid is not None:
            return
        with self._start_lock:
            if self._owner_pid is None and not self._closed:
                self._link.start()
                self._owner_pid = os.getpid()

    def call(self, request: Exchange[Any], deadline: float) -> RawReply:
        """Send a request and wait for its reply, until `deadline` on the client's clock."""
        self._check_usable()
        self.start()
        call = _Call(f"{self._prefix}-{next(self._numbers)}", request, deadline)
        self._link.post(lambda: self._accept(call))
        try:
            return call.reply.result(max(deadline - self._clock(), 0.0))
        except FutureTimeoutError:
            raise self._give_up(call) from self._lost_reason
        finally:
            self._link.post(lambda: self._forget(call))

    def close(self, timeout: float) -> None:
        """End every call with `ClientClosedError`, then the connection. Safe to repeat."""
        if self._closed:
            return
        with self._start_lock:
            self._closed = True
        if self._owner_pid != os.getpid():
            return  # never started, or the parent's
        self._link.post(self._end_calls)
        if not self._link.stop(timeout):
            _log.warning("Thread idalloc-client-io did not stop within %g s", timeout)
        self._end_calls()  # those that came too late for the thread

    def _check_usable(self) -> None:
        if self._owner_pid is not None and self._owner_pid != os.getpid():
            raise ForkedClientError
        if self._closed:
            raise ClientClosedError("the client is closed")

    def _give_up(self, call: _Call) -> IdAllocError:
        if self._blocked:
            return CallTimeoutError("the broker blocks publishers: it is short of memory or disk")
        if self._channel is None:
            words = describe(self._lost_reason)
            return ConnectionLostError(f"no connection to the broker: {words}")
        return CallTimeoutError(
            f"no reply from queue {call.request.queue!r} in time: does a worker run and keep up?"
        )

    # On the link's thread

    def on_ready(self, channel: Channel) -> None:
        """Listen for replies, then send what waited or may have been lost with the connection."""
        channel.add_on_return_callback(self._on_return)
        channel.basic_consume(_REPLY_TO, self._on_reply, auto_ack=True)
        self._channel = channel
        self._lost_reason = None
        self._send_all()

    def on_lost(self, reason: BaseException) -> None:
        """Keep the calls: they are sent again as soon as there is a channel."""
        self._channel = None
        self._lost_reason = reason
        self._blocked = False

    def on_blocked(self, *, blocked: bool) -> None:
        """Hold requests back while the broker does not read: they would leave out of date."""
        self._blocked = blocked
        if not blocked:
            self._send_all()

    def _accept(self, call: _Call) -> None:
        if self._closed:
            call.finish(ClientClosedError("the client is closed"))
        elif len(self._calls) >= self._max_in_flight:
            call.finish(TooManyCallsError(f"{self._max_in_flight} calls are in flight already"))
        else:
            self._calls[call.correlation_id] = call
            self._send(call)

    def _forget(self, call: _Call) -> None:
        self._calls.pop(call.correlation_id, None)

    def _send_all(self) -> None:
        for call in list(self._calls.values()):
            self._send(call)

    def _send(self, call: _Call) -> None:
        remaining_ms = math.ceil((call.deadline - self._clock()) * 1000)
        if self._channel is None or self._blocked or remaining_ms <= 0:
            return
        properties = BasicProperties(
            content_type=CONTENT_TYPE,
            delivery_mode=pika.DeliveryMode.Transient,
            correlation_id=call.correlation_id,
            reply_to=_REPLY_TO,
            expiration=str(min(remaining_ms, _MAX_EXPIRATION_MS)),
            type=call.request.message_type,
        )
        self._channel.basic_publish(
            "", call.request.queue, call.request.body, properties, mandatory=True
        )

    def _on_reply(
        self, _channel: Channel, _method: Basic.Deliver, properties: BasicProperties, body: bytes
    ) -> None:
        call = self._calls.pop(str(properties.correlation_id), None)
        if call is None:
            _log.debug("Ignored a reply that is late or was not asked for")
        else:
            call.finish(RawReply(body, str(properties.app_id or "")))

    def _on_return(
        self, _channel: Channel, method: Basic.Return, properties: BasicProperties, _body: bytes
    ) -> None:
        call = self._calls.pop(str(properties.correlation_id), None)
        if call is not None:
            call.finish(NoRouteError(str(method.routing_key)))

    def _end_calls(self) -> None:
        while self._calls:
            _, call = self._calls.popitem()
            call.finish(ClientClosedError("the client was closed during the call"))
