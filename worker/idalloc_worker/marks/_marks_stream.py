"""Reads the stream `id.fleet.marks`, in which the broker keeps what workers told each other.

RabbitMQ ("Streams", from 3.9 on) lets a consumer of AMQP 0-9-1 begin at any message. It has a
channel of its own, since the broker closes a channel on which something is refused.
"""

import contextlib
import logging
from collections.abc import Callable
from enum import IntEnum
from typing import Any, Final, Protocol

from idalloc_client.amqp import (
    AMQPError,
    Basic,
    BasicProperties,
    Callback,
    Channel,
    ChannelClosedByBroker,
    ReplyCode,
    Timer,
    stream_offset,
    user_of,
)
from idalloc_schemas import FLEET_EXCHANGE, MARKS_STREAM
from idalloc_worker.rights import FleetGate

_log = logging.getLogger("idalloc.fleet")

STREAM_ARGUMENTS: Final = {
    "x-queue-type": "stream",
    "x-max-length-bytes": 128 * 1024 * 1024,
    "x-stream-max-segment-size-bytes": 16 * 1024 * 1024,
}
"""A stream without a bound would grow for ever: here it does not depend on a policy."""

SPAN: Final = 40_000
"""Messages at its end that are read first: nearly always they hold a whole snapshot."""

_REFUSALS: Final = (ReplyCode.ACCESS_REFUSED, ReplyCode.NOT_FOUND, ReplyCode.PRECONDITION_FAILED)
"""The last: a queue of other arguments than those that were declared."""

PREFETCH: Final = 200
ACK_EVERY: Final = 50
_SILENCE: Final = 2.0  # seconds without a message, after which it is given up
_DOWN: Final = "down or inaccessible"
"""In the text of a 404 from a broker that has just started: the stream is there, and not up yet."""

_DOWN_LONGEST: Final = 20
_DOWN_PAUSE: Final = 0.5  # seconds; so often it is tried again, for the time that a start may take

_LONGEST: Final = 120.0  # seconds for all of it, on the busiest machine


class _Care(IntEnum):
    """What is done for the stream before it is read; less where the broker refuses it."""

    DECLARE = 0
    BIND = 1
    NONE = 2


class StreamHandler(Protocol):
    """Who wants to know what the stream holds."""

    def on_stream_open(self) -> None:
        """Publish something of one's own, which marks the stream's end."""

    def on_stream_message(self, body: bytes, offset: int, *, from_fleet: bool) -> None:
        """Take one message; `from_fleet` if it came through the exchange."""

    def on_stream_refused(self, reason: str) -> None:
        """Do without: there is no stream, or not for this user, or nothing comes out of it."""


class MarksStream:
    """Owned by the link's thread. From `open` to `close` it reads, from where `read_from` says."""

    def __init__(
        self,
        handler: StreamHandler,
        call_later: Callable[[float, Callback], Timer],
        *,
        app_id: str,
        gate: FleetGate,
    ) -> None:
        self._handler = handler
        self._call_later = call_later
        self._app_id = app_id
        self._gate = gate
        self._connection: Any = None
        self._channel: Channel | None = None
        self._heard = 0
        self._care = _Care.DECLARE
        self._opening: object = None
        self._downs = 0
        self._next: int | None = None  # the message that is due; None while the end is sought

    _ack_every = ACK_EVERY

    def open(self, connection: Any) -> None:
        """Begin at the end of the stream; `on_stream_open` follows, or `on_stream_refused`."""
        self.close()
        self._connection = connection
        opening = self._opening = object()
        self._downs, self._next = 0, None
        self._call_later(_LONGEST, lambda: self._end_if(opening))
        self._open()

    def close(self, on_closed: Callback = lambda: None) -> None:
        """Read no more; `on_closed` once the channel's number is free for another one."""
        channel, self._channel, self._connection = self._channel, None, None
        self._opening = None
        if channel is None or not channel.is_open:
            on_closed()
            return
        channel.add_on_close_callback(lambda *_: on_closed())
        with contextlib.suppress(AMQPError):  # the connection is going too
            channel.close()

    def read_from(self, offset: int) -> None:
        """Go on with the message at `offset`, or the first one that is still there.

        Over another channel: pika rejects what is on its way to a consumer that it cancels, and a
        broker older than rabbitmq-server #9644 ends the connection (540) when that is a stream.
        """
        channel, self._channel = self._channel, None
        if channel is not None and channel.is_open:
            opening, self._next = self._opening, offset
            channel.add_on_close_callback(lambda *_: self._open_again(opening))
            channel.close()

    def _open(self) -> None:
        try:
            self._connection.channel(on_open_callback=self._on_open)
        except AMQPError as error:  # no channel number is left, say
            self._refused(str(error))

    def _on_open(self, channel: Channel) -> None:
        if channel.connection is not self._connection or self._channel is not None:
            channel.close()  # it was closed meanwhile
            return
        self._channel = channel
        channel.add_on_close_callback(self._on_closed)
        channel.add_on_cancel_callback(lambda _frame: self._end("its consumer was cancelled"))
        self._begin(channel)

    def _begin(self, channel: Channel) -> None:
        """Seek the end of the stream, or go on with the message that is due."""
        channel.basic_qos(prefetch_count=PREFETCH)
        if self._next is not None:
            self._consume(channel, self._next)
            return
        if self._care <= _Care.DECLARE:
            channel.queue_declare(MARKS_STREAM, durable=True, arguments=STREAM_ARGUMENTS)
        self._consume(channel, "last", lambda: self._bind(channel))

    def _bind(self, channel: Channel) -> None:
        """See that it gets what is said; only now, as another queue of its name would fill up."""
        if channel is not self._channel or not channel.is_open:
            return
        if self._care <= _Care.BIND:  # whoever deletes the exchange takes the binding along
            channel.queue_bind(
                MARKS_STREAM,
                FLEET_EXCHANGE,
                "",
                callback=lambda _frame: self._handler.on_stream_open(),
            )
        else:
            self._handler.on_stream_open()

    def _consume(
        self, channel: Channel, start: int | str, on_consuming: Callback | None = None
    ) -> None:
        if channel is not self._channel or not channel.is_open:
            return

        def on_message(
            _channel: Channel, method: Basic.Deliver, properties: BasicProperties, body: bytes
        ) -> None:
            if channel is self._channel:
                self._on_message(method, properties, body)

        channel.basic_consume(
            MARKS_STREAM,
            on_message,
            consumer_tag=f"{self._app_id} marks",
            arguments={"x-stream-offset": start},
            callback=None if on_consuming is None else lambda _frame: on_consuming(),
        )
        self._watch(channel, self._heard)

    def _watch(self, channel: Channel, heard: int) -> None:
        """Give it up when nothing has come for a while."""

        def look() -> None:
            if channel is not self._channel:
                return
            if heard == self._heard:
                self._end("nothing is read from it: is it bound to the exchange id.fleet?")
            else:
                self._watch(channel, self._heard)

        self._call_later(_SILENCE, look)

    def _on_message(self, method: Basic.Deliver, properties: BasicProperties, body: bytes) -> None:
        self._heard += 1
        offset, channel = stream_offset(properties), self._channel
        if offset is None:
            self._end("it is no stream")
            return
        if self._next is not None:
            self._next = offset + 1
        if self._heard % self._ack_every == 0 and channel is not None:  # each one is a credit
            tag: Any = method.delivery_tag
            channel.basic_ack(tag, multiple=True)
        admitted = self._gate.admits_stored(
            user_of(properties), len(body), from_fleet=method.exchange == FLEET_EXCHANGE
        )
        try:
            self._handler.on_stream_message(body, offset, from_fleet=admitted)
        except Exception:  # noqa: BLE001  # pika would end the connection: a crash loop
            _log.exception("A message of the stream failed")

    def _on_closed(self, channel: Channel, reason: BaseException) -> None:
        if channel is not self._channel:
            return
        self._channel = None
        connection = self._connection
        if connection is None or not connection.is_open:
            return  # the link speaks
        if _DOWN in str(reason) and self._downs < _DOWN_LONGEST:
            self._downs += 1
            opening = self._opening
            self._call_later(_DOWN_PAUSE, lambda: self._open_again(opening))
            return
        refused = isinstance(reason, ChannelClosedByBroker) and reason.reply_code in _REFUSALS
        if refused and self._care < _Care.NONE:
            self._care = _Care(self._care + 1)
            self._open()
        else:
            self._care = _Care.DECLARE
            self._refused(str(reason))

    def _open_again(self, opening: object) -> None:
        connection = self._connection
        if opening is self._opening and self._channel is None and connection.is_open:
            self._open()

    def _end_if(self, opening: object) -> None:
        if opening is self._opening:
            self._end("to read it takes too long")

    def _end(self, reason: str) -> None:
        if self._connection is not None:
            self._refused(reason)

    def _refused(self, reason: str) -> None:
        self.close()
        self._handler.on_stream_refused(reason)
