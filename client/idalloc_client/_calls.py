"""The calls in flight on one link: sends them, sends them again, and matches their replies."""

import logging
import math
import time
import uuid
from collections.abc import Callable
from itertools import count
from typing import Any, Protocol

import pika
from pika.channel import Channel
from pika.spec import Basic, BasicProperties

from idalloc_client._errors import (
    CallTimeoutError,
    ClientClosedError,
    ConnectionLostError,
    IdAllocError,
    NoRouteError,
    TooManyCallsError,
)
from idalloc_client._exchange import Exchange, RawReply
from idalloc_client._reason import describe
from idalloc_schemas import CONTENT_TYPE

_log = logging.getLogger("idalloc.client")

_REPLY_TO = "amq.rabbitmq.reply-to"
_MAX_EXPIRATION_MS = 2**32 - 1  # the broker refuses a longer one


class Call(Protocol):
    """A request on its way, and whoever waits for it."""

    request: Exchange[Any]
    deadline: float
    """On the clock of the call table."""

    def finish(self, outcome: RawReply | IdAllocError) -> None:
        """End the call; may come twice, and the first outcome stands."""


class CallTable:
    """A link's handler, over RabbitMQ's direct reply-to. It belongs to the link's thread."""

    def __init__(self, *, max_in_flight: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_in_flight = max_in_flight
        self._clock = clock
        self._numbers = count(1)
        self._prefix = uuid.uuid4().hex
        self._calls: dict[str, Call] = {}
        self._channel: Channel | None = None
        self._blocked = False
        self._closed = False
        self.lost_reason: BaseException | None = None

    def __len__(self) -> int:
        return len(self._calls)

    def add(self, call: Call) -> str:
        """Take a call, send it as soon as there is a channel, and return its correlation id."""
        correlation_id = f"{self._prefix}-{next(self._numbers)}"
        if self._closed:
            call.finish(ClientClosedError("the client is closed"))
        elif len(self._calls) >= self._max_in_flight:
            call.finish(TooManyCallsError(f"{self._max_in_flight} calls are in flight already"))
        else:
            self._calls[correlation_id] = call
            self._send(correlation_id, call)
        return correlation_id

    def forget(self, correlation_id: str) -> None:
        """Stop waiting for a reply."""
        self._calls.pop(correlation_id, None)

    def close(self) -> None:
        """End every call, and those that still come, with `ClientClosedError`."""
        self._closed = True
        while self._calls:
            _, call = self._calls.popitem()
            call.finish(ClientClosedError("the client was closed during the call"))

    def overdue(self, queue: str) -> IdAllocError:
        """Say why a call has no reply at its deadline."""
        error = self._why_overdue(queue)
        error.__cause__ = self.lost_reason
        return error

    def _why_overdue(self, queue: str) -> IdAllocError:
        if self._blocked:
            return CallTimeoutError("the broker blocks publishers: it is short of memory or disk")
        if self._channel is None:
            words = describe(self.lost_reason)
            return ConnectionLostError(f"no connection to the broker: {words}")
        return CallTimeoutError(
            f"no reply from queue {queue!r} in time: does a worker run and keep up?"
        )

    # What the link says

    def on_ready(self, channel: Channel) -> None:
        """Listen for replies, then send what waited or may have been lost with the connection."""
        channel.add_on_return_callback(self._on_return)
        channel.basic_consume(_REPLY_TO, self._on_reply, auto_ack=True)
        self._channel = channel
        self.lost_reason = None
        self._send_all()

    def on_lost(self, reason: BaseException) -> None:
        """Keep the calls: they are sent again as soon as there is a channel."""
        self._channel = None
        self.lost_reason = reason
        self._blocked = False

    def on_blocked(self, *, blocked: bool) -> None:
        """Hold requests back while the broker does not read: they would leave out of date."""
        self._blocked = blocked
        if not blocked:
            self._send_all()

    # Messages

    def _send_all(self) -> None:
        for correlation_id, call in list(self._calls.items()):
            self._send(correlation_id, call)

    def _send(self, correlation_id: str, call: Call) -> None:
        remaining_ms = math.ceil((call.deadline - self._clock()) * 1000)
        if self._channel is None or self._blocked or remaining_ms <= 0:
            return
        request = call.request
        properties = BasicProperties(
            content_type=CONTENT_TYPE,
            delivery_mode=pika.DeliveryMode.Transient,
            correlation_id=correlation_id,
            reply_to=_REPLY_TO,
            expiration=str(min(remaining_ms, _MAX_EXPIRATION_MS)),
            type=request.message_type,
        )
        self._channel.basic_publish("", request.queue, request.body, properties, mandatory=True)

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
