"""One channel's life: what comes in on it is answered and acknowledged on it, or not at all."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import pika
from pika.channel import Channel
from pika.exceptions import AMQPError
from pika.spec import Basic, BasicProperties

from idalloc_schemas import ALLOC_QUEUE, CONTENT_TYPE, HEALTH_QUEUE
from idalloc_worker._acks import AckTracker

_UNUSABLE_REPLY_TO = frozenset({None, "", b"", "amq.rabbitmq.reply-to", ALLOC_QUEUE, HEALTH_QUEUE})


@dataclass(slots=True, eq=False)
class Delivery:
    """A request with what is needed to answer it; its tag is good on its session only."""

    session: "Session"
    tag: int
    queue: str
    reply_to: Any
    correlation_id: Any
    redelivered: bool
    finished: bool = False

    @property
    def answerable(self) -> bool:
        """Whether there is somebody to answer: a reply into our own queues would be a loop."""
        return self.reply_to not in _UNUSABLE_REPLY_TO


class OnDelivery(Protocol):
    """Takes what a consumer was sent."""

    def __call__(self, delivery: Delivery, properties: BasicProperties, body: bytes) -> None:
        """Handle one message."""


class Session:
    """Owned by the link's thread, for as long as its channel is open.

    `call_soon` runs a callback once everything that was read in this turn has been handled, so
    that one acknowledgement serves all of it.
    """

    def __init__(
        self,
        channel: Channel,
        worker: str,
        call_soon: Callable[[Callable[[], None]], None],
    ) -> None:
        self._channel = channel
        self._worker = worker
        self._call_soon = call_soon
        self._acks = AckTracker()
        self._flush_pending = False
        self._cancelling = 0
        self._consumer_tags: list[str] = []

    @property
    def usable(self) -> bool:
        """Whether answers can still be sent: after this, the broker delivers again elsewhere."""
        return bool(self._channel.is_open)

    def consume(
        self,
        queue: str,
        consumer_tag: str,
        on_delivery: OnDelivery,
        on_consuming: Callable[[], None],
    ) -> None:
        """Start to take messages; a queue that does not exist closes the channel with 404."""

        def on_message(
            _channel: Channel, method: Basic.Deliver, properties: BasicProperties, body: bytes
        ) -> None:
            tag = method.delivery_tag
            self._acks.delivered(tag)
            delivery = Delivery(
                self,
                tag,
                queue,
                properties.reply_to,
                properties.correlation_id,
                bool(method.redelivered),
            )
            on_delivery(delivery, properties, body)

        self._channel.basic_consume(
            queue, on_message, consumer_tag=consumer_tag, callback=lambda _frame: on_consuming()
        )
        self._consumer_tags.append(consumer_tag)

    def reply(self, delivery: Delivery, body: bytes, message_type: str) -> None:
        """Write the answer, then count the request as done: in this order on one channel."""
        if delivery.finished or not self.usable:
            return
        properties = BasicProperties(
            content_type=CONTENT_TYPE,
            delivery_mode=pika.DeliveryMode.Transient,
            correlation_id=delivery.correlation_id,
            type=message_type,
            app_id=self._worker,
        )
        # Not mandatory: up to RabbitMQ 4.1 a reply to a direct reply-to address would be
        # returned as unroutable although it was delivered.
        self._channel.basic_publish("", delivery.reply_to, body, properties)
        self.finish(delivery)

    def finish(self, delivery: Delivery) -> None:
        """Acknowledge, with what else is due, at the end of this turn."""
        if delivery.finished:
            return
        delivery.finished = True
        self._acks.done(delivery.tag)
        if not self._flush_pending:
            self._flush_pending = True
            self._call_soon(self.flush)

    def dead_letter(self, delivery: Delivery) -> None:
        """Refuse for good: the message goes where the queue's policy sends dead letters."""
        self._reject(delivery, requeue=False)

    def hand_back(self, delivery: Delivery) -> None:
        """Return to the queue, for another worker."""
        self._reject(delivery, requeue=True)

    def flush(self) -> None:
        """Send the acknowledgements that are due."""
        self._flush_pending = False
        if self.usable:
            for tag, multiple in self._acks.flush():
                self._channel.basic_ack(tag, multiple)

    def cancel(self, on_cancelled: Callable[[], None]) -> None:
        """Stop taking messages; what was delivered until then is still to be answered."""
        self._cancelling = len(self._consumer_tags)

        def on_cancel_ok(_frame: object) -> None:
            self._cancelling -= 1
            if not self._cancelling:
                on_cancelled()

        try:
            for tag in self._consumer_tags:
                self._channel.basic_cancel(tag, on_cancel_ok)
        except AMQPError:  # the channel is closing: nothing more will be delivered
            on_cancelled()

    def _reject(self, delivery: Delivery, *, requeue: bool) -> None:
        if self.usable and not delivery.finished:
            delivery.finished = True
            self._acks.rejected(delivery.tag)
            self._channel.basic_reject(delivery.tag, requeue)
