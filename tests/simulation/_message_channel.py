"""What a session writes on: the short way past pika, on a simulated channel."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from idalloc_client.amqp._io._channel import MessageChannel
from idalloc_client.amqp._io._frames import Envelope, Properties
from idalloc_schemas import ALLOC_REPLY_TYPE
from tests.simulation._broker import Consumer, Message
from tests.simulation._channel import SimChannel


class SimMessageChannel(MessageChannel):
    """What a session writes on; `on_reply` sees each reply as it leaves."""

    def __init__(self, channel: Any, on_reply: Callable[[bytes, bytes], None]) -> None:
        super().__init__(channel)
        self._sim: SimChannel = channel
        self._on_reply = on_reply

    def publish(
        self,
        routing_key: bytes,
        properties: Properties,
        body: bytes,
        *,
        mandatory: bool = False,
        exchange: bytes | None = None,
    ) -> None:
        """Send to a queue; replies go another way."""
        assert not mandatory
        self._sim.basic_publish("", routing_key, body, properties)

    def reply(
        self, reply_to: bytes, envelope: Envelope, correlation_id: bytes | None, body: bytes
    ) -> None:
        """Answer a caller."""
        del reply_to
        if envelope.properties.type == ALLOC_REPLY_TYPE.encode():
            self._on_reply(correlation_id or b"", body)
        self._sim.reply(correlation_id, body)

    def ack(self, delivery_tag: int, *, multiple: bool) -> None:
        """Acknowledge."""
        self._sim.basic_ack(delivery_tag, multiple)

    def consume(  # as the real one
        self,
        queue: str,
        consumer_tag: str,
        on_delivery: Callable[..., None],
        on_consuming: Callable[[], None] | None = None,
        *,
        auto_ack: bool = False,
        arguments: dict[str, Any] | None = None,
        tell_exchange: bool = False,
    ) -> None:
        """Subscribe without a detour over pika's properties."""

        def take(tag: int, message: Message) -> None:
            properties = message.properties
            if tell_exchange:
                properties = replace(properties, exchange=message.exchange.encode())
            on_delivery(tag, message.redelivered, properties, message.body)

        callback = None if on_consuming is None else lambda _frame: on_consuming()
        consumer = Consumer(self._sim, consumer_tag, auto_ack, take)
        self._sim.consume(queue, consumer, arguments, callback)

    def _callback_for(self, on_delivery: Any, *, tell_exchange: bool) -> Callable[..., None]:
        raise NotImplementedError
