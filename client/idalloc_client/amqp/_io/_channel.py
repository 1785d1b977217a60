"""One open channel, as a link's handler uses it: pika's, with a fast path for what is frequent."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from pika.channel import Channel
from pika.spec import Basic, BasicProperties

from idalloc_client.amqp._io._delivery_layout import OnDelivery
from idalloc_client.amqp._io._delivery_reader import DeliveryReader
from idalloc_client.amqp._io._frames import (
    FRAME_OVERHEAD,
    Envelope,
    Properties,
    ack,
    content,
    publish_method,
)
from idalloc_client.amqp._io._guarded_loop import Callback

OnGot = Callable[[int, Properties, bytes], None]
"""Takes one message that was asked for, and how many its queue has left."""

_MAX_KNOWN_KEYS = 64
"""Routing keys whose frame is kept; measured: 6 % of a worker's CPU time per request."""

OnConfirm = Callable[[int, bool, bool], None]
"""Takes what the broker says of a message: its number, whether that holds for all before it too,
and whether it was taken."""


class MessageChannel(ABC):
    """Publishes, acknowledges and consumes; it belongs to the thread of its link.

    All else is asked of `pika_channel`. Both may be used side by side: bytes leave in the order of
    the calls, but for requests that pika keeps back until an earlier one is answered. Whoever
    writes has looked whether it `is_open`.
    """

    leaves_cycles = False
    """Whether messages leave objects behind that only the garbage collector frees."""

    exchange = b""
    """Where `publish` and `reply` publish to; set before the first message."""

    def __init__(self, channel: Channel) -> None:
        self.pika_channel = channel

    @property
    def is_open(self) -> bool:
        """Whether what is written has an effect."""
        return bool(self.pika_channel.is_open)

    @property
    def server(self) -> str:
        """The host of the broker."""
        return str(self.pika_channel.connection.params.host)

    @property
    def server_properties(self) -> Mapping[str, Any] | None:
        """What the broker says of itself."""
        properties: Mapping[str, Any] | None = self.pika_channel.connection.server_properties
        return properties

    @abstractmethod
    def publish(
        self,
        routing_key: bytes,
        properties: Properties,
        body: bytes,
        *,
        mandatory: bool = False,
        exchange: bytes | None = None,
    ) -> None:
        """Publish a transient message to `exchange`, by default that of the channel.

        Raises ValueError, with nothing written, for properties that cannot be.
        """

    def reply(
        self, reply_to: bytes, envelope: Envelope, correlation_id: bytes | None, body: bytes
    ) -> None:
        """Publish a reply; otherwise like `publish`."""
        properties = replace(envelope.properties, correlation_id=correlation_id)
        self.publish(reply_to, properties, body)

    @abstractmethod
    def ack(self, delivery_tag: int, *, multiple: bool) -> None:
        """Acknowledge one delivery, or all up to it."""

    def consume(  # noqa: PLR0913  # what AMQP asks for
        self,
        queue: str,
        consumer_tag: str,
        on_delivery: OnDelivery,
        on_consuming: Callback | None = None,
        *,
        auto_ack: bool = False,
        arguments: dict[str, Any] | None = None,
        tell_exchange: bool = False,
    ) -> None:
        """Take the messages of a queue; one that does not exist closes the channel with 404.

        `tell_exchange`: their properties say through which exchange they came. A consumer that is
        cancelled still gets what was on its way. Raises ValueError for a consumer without a tag.
        """
        if not consumer_tag:
            raise ValueError("a consumer needs a tag of its own")
        self.pika_channel.basic_consume(
            queue,
            self._callback_for(on_delivery, tell_exchange=tell_exchange),
            auto_ack=auto_ack,
            consumer_tag=consumer_tag,
            arguments=arguments,
            callback=None if on_consuming is None else lambda _frame: on_consuming(),
        )
        self._take(consumer_tag, on_delivery, tell_exchange=tell_exchange)

    def confirm(self, on_confirm: OnConfirm) -> None:
        """Have the broker say of each message from now on whether it took it; numbers begin at 1.

        No answer of the broker may be outstanding on the channel: pika would let what is published
        overtake this, and the numbers would be others.
        """
        self.pika_channel.confirm_delivery(lambda frame: _tell(on_confirm, frame))

    def get(self, queue: str, on_message: OnGot) -> None:
        """Take one message, which is gone from its queue as soon as the broker sends it.

        If there is none, pika tells those who asked for `Basic.GetEmpty` on the channel.
        """

        def on_got(
            _channel: Channel, method: Basic.GetOk, properties: BasicProperties, body: bytes
        ) -> None:
            left: Any = method.message_count
            on_message(left, _as_bytes(properties), body)

        self.pika_channel.basic_get(queue, on_got, auto_ack=True)

    @abstractmethod
    def _callback_for(self, on_delivery: OnDelivery, *, tell_exchange: bool) -> Callable[..., None]:
        """Return what pika is to call with the deliveries that it sees."""

    def _take(  # noqa: B027  # pika may see them
        self, consumer_tag: str, on_delivery: OnDelivery, *, tell_exchange: bool
    ) -> None:
        """Have deliveries go to `on_delivery` before pika sees them."""

    def forget(self) -> None:  # noqa: B027  # there may be nothing to forget
        """Take no more deliveries: the channel has ended."""


class FastChannel(MessageChannel):
    """Writes and reads frames itself, beside pika's on the same connection."""

    def __init__(
        self, channel: Channel, write: Callable[[bytes], None], reader: DeliveryReader
    ) -> None:
        super().__init__(channel)
        self._number = channel.channel_number
        self._write = write
        self._reader = reader
        self._body_max = channel.connection.params.frame_max - FRAME_OVERHEAD
        self._methods: tuple[dict[bytes, bytes], dict[bytes, bytes]] = ({}, {})

    def publish(
        self,
        routing_key: bytes,
        properties: Properties,
        body: bytes,
        *,
        mandatory: bool = False,
        exchange: bytes | None = None,
    ) -> None:
        if exchange is None:
            method = self._method(routing_key, mandatory=mandatory)
        else:
            method = publish_method(
                self._number, routing_key, mandatory=mandatory, exchange=exchange
            )
        self._write(method + content(self._number, properties, body, self._body_max))

    def reply(
        self, reply_to: bytes, envelope: Envelope, correlation_id: bytes | None, body: bytes
    ) -> None:
        """Write the frames of a reply; measured: 24 % of a worker's CPU time per request."""
        if not 0 < len(body) <= self._body_max:
            super().reply(reply_to, envelope, correlation_id, body)
            return
        method = self._method(reply_to, mandatory=False)
        self._write(method + envelope.content(self._number, correlation_id, body))

    def _method(self, routing_key: bytes, *, mandatory: bool) -> bytes:
        known = self._methods[mandatory]
        method = known.get(routing_key)
        if method is None:
            method = publish_method(
                self._number, routing_key, mandatory=mandatory, exchange=self.exchange
            )
            if len(known) < _MAX_KNOWN_KEYS:
                known[routing_key] = method
        return method

    def ack(self, delivery_tag: int, *, multiple: bool) -> None:
        self._write(ack(self._number, delivery_tag, multiple=multiple))

    def _callback_for(
        self, _on_delivery: OnDelivery, *, tell_exchange: bool
    ) -> Callable[..., None]:
        del tell_exchange
        return lambda *_: None  # pika sees none

    def _take(self, consumer_tag: str, on_delivery: OnDelivery, *, tell_exchange: bool) -> None:
        # The broker's answer is still to come, and so is the first delivery.
        self._reader.take(
            self._number, consumer_tag.encode(), on_delivery, tell_exchange=tell_exchange
        )

    def forget(self) -> None:
        """Leave what is still to come to pika."""
        self._reader.forget(self._number)


class PikaChannel(MessageChannel):
    """Does all of it with pika: slower, and independent of how pika is made inside."""

    leaves_cycles = True

    def publish(
        self,
        routing_key: bytes,
        properties: Properties,
        body: bytes,
        *,
        mandatory: bool = False,
        exchange: bytes | None = None,
    ) -> None:
        # Bytes that are no text come from callers, who get their correlation id back as it was:
        # pika writes bytes as they are, whatever its annotations say.
        given: Any = {
            "content_type": properties.content_type,
            "headers": properties.headers and dict(properties.headers),
            "correlation_id": properties.correlation_id,
            "reply_to": properties.reply_to,
            "expiration": properties.expiration,
            "type": properties.type,
            "user_id": properties.user_id,
            "app_id": properties.app_id,
        }
        key: Any = routing_key
        through: Any = self.exchange if exchange is None else exchange
        self.pika_channel.basic_publish(
            through, key, body, BasicProperties(delivery_mode=1, **given), mandatory=mandatory
        )

    def ack(self, delivery_tag: int, *, multiple: bool) -> None:
        self.pika_channel.basic_ack(delivery_tag, multiple)

    def _callback_for(self, on_delivery: OnDelivery, *, tell_exchange: bool) -> Callable[..., None]:
        def on_message(
            _channel: Channel, method: Basic.Deliver, properties: BasicProperties, body: bytes
        ) -> None:
            tag: Any = method.delivery_tag
            as_bytes = _as_bytes(properties)
            if tell_exchange:
                as_bytes.exchange = str(method.exchange).encode()
            on_delivery(tag, bool(method.redelivered), as_bytes, body)

        return on_message


def _as_bytes(properties: BasicProperties) -> Properties:
    def encoded(value: str | bytes | None) -> bytes | None:
        # pika decodes what is UTF-8, and leaves the rest as it came.
        return value.encode() if isinstance(value, str) else value

    return Properties(
        content_type=encoded(properties.content_type),
        correlation_id=encoded(properties.correlation_id),
        reply_to=encoded(properties.reply_to),
        expiration=encoded(properties.expiration),
        type=encoded(properties.type),
        user_id=encoded(properties.user_id),
        app_id=encoded(properties.app_id),
        message_id=encoded(properties.message_id),
        table=getattr(properties, "table", None),
    )


def _tell(on_confirm: OnConfirm, frame: Any) -> None:
    method = frame.method
    on_confirm(method.delivery_tag, bool(method.multiple), isinstance(method, Basic.Ack))
