"""A caller that is not ours: it knows AMQP and the JSON contract, and nothing of idalloc's code."""

import contextlib
import time
import uuid
from types import TracebackType
from typing import Any, Self

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import AMQPError, ChannelWrongStateError

DIRECT_REPLY_TO = "amq.rabbitmq.reply-to"


class ReturnedError(Exception):
    """The broker sent the request back: no queue of that name."""

    def __init__(self, reply_code: int, reply_text: str) -> None:
        super().__init__(f"{reply_code} {reply_text}")
        self.reply_code = reply_code
        self.reply_text = reply_text


class ForeignClient:
    """One connection, one request at a time; only the thread that made it may use it.

    A connection or channel that was closed since the last call is opened anew by the next one.
    """

    def __init__(self, amqp_url: str) -> None:
        self._parameters = pika.URLParameters(amqp_url)
        # pika waits without end for a broker that hangs unless each of these is set.
        self._parameters.socket_timeout = 60
        self._parameters.stack_timeout = 60
        self._parameters.blocked_connection_timeout = 60
        self._parameters.heartbeat = 60
        self._connection: pika.BlockingConnection | None = None
        self._channel: BlockingChannel | None = None
        self._replies: list[tuple[bytes, pika.BasicProperties]] = []
        self._returned: list[tuple[ReturnedError, pika.BasicProperties]] = []

    def call(
        self, queue: str, body: bytes, *, timeout: float = 60.0, **properties: Any
    ) -> tuple[bytes, pika.BasicProperties] | None:
        """Send a request and wait for the reply with its correlation id; None if none comes.

        `properties` go into the AMQP properties as they are, over the defaults of a well-behaved
        caller (direct reply-to, a fresh correlation id, the timeout as `expiration`); None leaves
        a default out. Raises `ReturnedError` if there is no such queue, and pika's errors
        if the broker closes the channel (as it does for an `expiration` that is not a number)
        or the connection is lost.
        """
        deadline = time.monotonic() + timeout
        defaults = {
            "content_type": "application/json",
            "correlation_id": str(uuid.uuid4()),
            "expiration": str(int(timeout * 1000)),
            "reply_to": DIRECT_REPLY_TO,
        }
        sent = self.publish(queue, body, mandatory=True, **(defaults | properties))
        while True:
            for error, returned in self._returned:
                if returned.correlation_id == sent.correlation_id:
                    raise error
            for reply, received in self._replies:
                if received.correlation_id == sent.correlation_id:
                    return reply, received
            self._replies.clear()  # late replies to earlier calls
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                return None
            self._wait_for_events(remaining)

    def gather(
        self, queue: str, body: bytes, replies: int, *, timeout: float = 60.0
    ) -> list[bytes]:
        """Send one request that several answer; fewer replies than wanted if time is up."""
        deadline = time.monotonic() + timeout
        self.publish(queue, body, reply_to=DIRECT_REPLY_TO, correlation_id=str(uuid.uuid4()))
        while len(self._replies) < replies and time.monotonic() < deadline:
            self._wait_for_events(max(deadline - time.monotonic(), 0.0))
        return [reply for reply, _ in self._replies]

    def publish(
        self, queue: str, body: bytes, *, mandatory: bool = False, **properties: Any
    ) -> pika.BasicProperties:
        """Send a message without waiting for anything, with no property that is not given."""
        channel = self._open()
        self._replies.clear()
        self._returned.clear()
        message = pika.BasicProperties(**properties)
        channel.basic_publish("", queue, body, message, mandatory=mandatory)
        return message

    def close(self) -> None:
        """Close the connection; harmless if it is lost or closed already."""
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None and connection.is_open:
            with contextlib.suppress(AMQPError):  # it may be lost before the goodbye arrives
                connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _open(self) -> BlockingChannel:
        if self._channel is not None and self._connection is not None:
            try:
                self._connection.process_data_events(time_limit=0)  # notices what was closed
            except AMQPError:
                self.close()
        if self._connection is None or not self._connection.is_open:
            self._connection = pika.BlockingConnection(self._parameters)
            self._channel = None
        if self._channel is None or not self._channel.is_open:
            self._channel = self._connection.channel()
            self._channel.add_on_return_callback(self._on_return)
            # Replies arrive on the channel that consumes them here and publishes the requests.
            self._channel.basic_consume(DIRECT_REPLY_TO, self._on_reply, auto_ack=True)
        return self._channel

    def _wait_for_events(self, seconds: float) -> None:
        assert self._connection is not None
        assert self._channel is not None
        self._connection.process_data_events(time_limit=seconds)
        if self._channel.is_closed:  # pika notes this in the channel and says nothing
            reason: Any = self._channel._closing_reason
            raise reason or ChannelWrongStateError("the channel is closed")

    def _on_reply(
        self, _channel: Any, _method: Any, properties: pika.BasicProperties, body: bytes
    ) -> None:
        self._replies.append((body, properties))

    def _on_return(
        self, _channel: Any, method: Any, properties: pika.BasicProperties, _body: bytes
    ) -> None:
        self._returned.append((ReturnedError(method.reply_code, method.reply_text), properties))
