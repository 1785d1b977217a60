"""Takes requests from callers at the same node of a cluster, where the broker has a way for that.

An operator makes the exchange `id.local`, of the type `x-local-random`; each worker binds a queue
of its own to it. A request then crosses no network between nodes, and no queue that all share.
"""

import logging
import secrets
from collections.abc import Callable
from typing import Any, Final

from idalloc_client.amqp import (
    AMQPError,
    Callback,
    Channel,
    ChannelClosedByBroker,
    Connection,
    ReopeningChannel,
    ReplyCode,
)
from idalloc_schemas import LOCAL_EXCHANGE
from idalloc_worker.requests import release_of

_log = logging.getLogger("idalloc.worker")

_SINCE: Final = 4, 0, 0
"""The release of RabbitMQ from which on there are such exchanges."""
_ARGUMENTS: Final = {"x-queue-type": "classic"}  # the only type that may be one connection's own

_NO_CHANNEL: Final = 60.0  # seconds before another one is asked for
_OPEN_AGAIN: Final = 5.0
_LOOK_AGAIN: Final = 0.02
_LEAVING: Final = 1.0  # seconds for what has come to be delivered


class LocalQueue:
    """Owned by the link's thread. The queue lives as long as the connection does."""

    def __init__(self, call_later: Callable[[float, Callback], object]) -> None:
        self._call_later = call_later
        self._channels = ReopeningChannel(
            call_later,
            on_open=self._on_open,
            on_unopened=lambda _error: _NO_CHANNEL,
            on_closed=self._on_closed,
        )
        self._consume: Callable[[str], None] | None = None
        self._queue: str | None = None

    def begin(self, connection: Connection, consume: Callable[[str], None]) -> None:
        """Have requests come in over a fresh connection, if there is the exchange.

        `consume` is given the queue that they are in.
        """
        self.disconnect()
        release = release_of(connection.server_properties)
        if release is not None and release >= _SINCE:
            self._consume = consume
            self._channels.connect(connection)

    def disconnect(self) -> None:
        """Forget a connection that is lost."""
        self._consume = self._queue = None
        self._channels.disconnect()

    def leave(self, on_left: Callback) -> None:
        """Get no more requests, and say when those that came are delivered: the queue will go.

        What comes after that goes to other workers.
        """
        channel, queue = self._channels.channel, self._queue
        left = _Once(on_left)
        if channel is None or queue is None:
            left()
            return
        self._consume = None
        self._call_later(_LEAVING, left)
        channel.add_on_close_callback(lambda *_: left())

        def look(_frame: object = None) -> None:
            _ask(lambda: channel.queue_declare(queue, passive=True, callback=on_count), left)

        def on_count(frame: Any) -> None:
            if frame.method.message_count:
                self._call_later(_LOOK_AGAIN, look)
            else:
                left()

        _ask(lambda: channel.queue_unbind(queue, LOCAL_EXCHANGE, "", callback=look), left)

    def _on_open(self, channel: Channel) -> None:
        """Make the queue; the channel is closed where the exchange does not exist."""
        queue = f"{LOCAL_EXCHANGE}.{secrets.token_hex(8)}"
        channel.exchange_declare(LOCAL_EXCHANGE, passive=True)
        channel.queue_declare(queue, exclusive=True, arguments=_ARGUMENTS)
        channel.queue_bind(queue, LOCAL_EXCHANGE, "", callback=lambda _frame: self._on_bound(queue))

    def _on_bound(self, queue: str) -> None:
        if self._consume is not None:
            self._queue = queue
            self._consume(queue)

    def _on_closed(self, reason: BaseException) -> float | None:
        self._queue = None
        if self._consume is None:
            return None
        if not isinstance(reason, ChannelClosedByBroker):
            return _OPEN_AGAIN
        if reason.reply_code != ReplyCode.NOT_FOUND:  # else nobody wants this
            _log.warning(
                "RabbitMQ keeps this worker from requests of callers at its node: %s. It needs "
                "all rights on its queue id.local.*, and read permission on the exchange %s",
                reason.reply_text,
                LOCAL_EXCHANGE,
            )
        return None


def _ask(ask: Callback, otherwise: Callback) -> None:
    try:
        ask()
    except AMQPError:  # the channel is closing
        otherwise()


class _Once:
    """Calls once, however often it is called."""

    def __init__(self, callback: Callback) -> None:
        self._callback: Callback | None = callback

    def __call__(self) -> None:
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()
