"""One channel's life: what comes in on it is answered and acknowledged on it, or not at all."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import inf
from typing import Any, Protocol

from idalloc_client.amqp import AMQPError, Connection, Envelope, MessageChannel, Properties
from idalloc_schemas import ALLOC_REQUEST_TYPE, CONTENT_TYPE, HEALTH_REPLY_TYPE, AllocRequest
from idalloc_worker.requests._acks import Acknowledgements, Holding
from idalloc_worker.requests._reply_address import ReplyAddresses, release_of
from idalloc_worker.rights import FleetUsers
from idalloc_worker.traces import RequestTrace

REQUEST_TYPE = ALLOC_REQUEST_TYPE.encode()
"""Of what a caller has sent to a partition's queue: it is like all other requests."""

_NOT_PARSED = AllocRequest(app_tag="-")
_CONTENT_TYPE = CONTENT_TYPE.encode()
_EXPIRATIONS = {HEALTH_REPLY_TYPE: b"30000"}
"""Milliseconds. What is said of a worker's health is of no use later; a reply may be long, and
may go to a queue that nobody reads."""


@dataclass(slots=True, eq=False)
class Delivery:
    """A request with what is needed to answer it; its tag is good on its session only."""

    session: "Session"
    tag: int
    queue: str
    reply_to: bytes | None
    correlation_id: bytes | None
    redelivered: bool
    finished: bool = False
    since: float | None = None
    """When it came (monotonic seconds), if the time until its reply is to be measured."""
    user: bytes | None = None
    """Who sent it, as the broker vouches (the property `user_id`)."""
    request: AllocRequest = _NOT_PARSED
    deadline: float = inf
    """Until when its caller waits, in monotonic seconds."""
    period: str | None = None
    """The period whose ids it gets, of a tag that starts anew."""
    trace: RequestTrace | None = None
    """What shows it to its caller's operator, if that was asked for."""

    @property
    def user_name(self) -> str | None:
        """The sender's name, as a row may have it."""
        return None if self.user is None else self.user.decode(errors="replace")

    @property
    def server(self) -> str:
        """The host of the broker that it came from."""
        return self.session.server

    @property
    def returnable(self) -> bool:
        """Whether it may be handed back: its queue has it until then."""
        return True

    @property
    def owner_queue(self) -> str | None:
        """Where the owner of its tag takes requests: it is the owner that answers this one."""
        return None

    @property
    def answerable(self) -> bool:
        """Whether there may be somebody to answer, and answering does no harm."""
        addresses = self.session.addresses
        return self.reply_to in addresses.admitted or addresses.admit(self.reply_to)


class OwnDelivery(Delivery):
    """A request from a queue that goes with this worker."""

    __slots__ = ()

    @property
    def returnable(self) -> bool:
        """Whether it may be handed back: there it would be lost, so its caller is told."""
        return False


class OnDelivery(Protocol):
    """Takes what a consumer was sent."""

    def __call__(self, delivery: Delivery, properties: Properties, body: bytes) -> None:
        """Handle a message of a queue that a session consumes."""


class Session:
    """Owned by the link's thread, for as long as its channel is open.

    Replies carry the name of `users`, so that a caller can tell them from forged ones. For
    `call_soon`, `on_replied` and `holding` see `Acknowledgements`.
    """

    def __init__(  # noqa: PLR0913  # what it writes, and when
        self,
        channel: MessageChannel,
        worker: str,
        call_soon: Callable[[Callable[[], None]], None],
        on_replied: Callable[[list[float]], None],
        *,
        users: FleetUsers,
        holding: Holding | None = None,
    ) -> None:
        self._channel = channel
        self._pika_channel = channel.pika_channel
        self._worker = worker.encode()
        self._users = users
        self._acks = Acknowledgements(channel, call_soon, on_replied, holding)
        self.flush = self._acks.flush
        self._cancelling = 0
        self._envelopes: dict[str, Envelope] = {}
        self._consumer_tags: list[str] = []

    @cached_property
    def addresses(self) -> ReplyAddresses:
        """The addresses that may be answered on it."""
        return ReplyAddresses(release_of(self._channel.server_properties))

    @property
    def connection(self) -> Connection:
        """The connection that its channel is on."""
        return self._pika_channel.connection

    @property
    def server(self) -> str:
        """The host of the broker."""
        return self._channel.server

    @property
    def usable(self) -> bool:
        """Whether answers can still be sent: after this, the broker delivers again elsewhere."""
        return self._channel.is_open

    def limit(self, prefetch: int) -> None:
        """Set how many unfinished messages each consumer has that follows."""
        self._pika_channel.basic_qos(prefetch_count=prefetch)

    def consume(
        self,
        queue: str,
        consumer_tag: str,
        on_delivery: OnDelivery,
        on_consuming: Callable[[], None],
        *,
        arguments: dict[str, Any] | None = None,
    ) -> None:
        """Start to take messages; a queue that does not exist closes the channel with 404."""
        take = self._taking(Delivery, queue, on_delivery)
        self._channel.consume(queue, consumer_tag, take, on_consuming, arguments=arguments)
        self._consumer_tags.append(consumer_tag)

    def consume_own(
        self, queue: str, shared: str, consumer_tag: str, on_delivery: OnDelivery
    ) -> None:
        """Start to take messages of a queue that no other worker has, as if from the shared one."""
        take = self._taking(OwnDelivery, shared, on_delivery)
        self._channel.consume(queue, consumer_tag, take)
        self._consumer_tags.append(consumer_tag)

    def _taking(
        self, kind: type[Delivery], queue: str, on_delivery: OnDelivery
    ) -> Callable[[int, bool, Properties, bytes], None]:
        def on_message(
            tag: int,
            redelivered: bool,  # noqa: FBT001
            properties: Properties,
            body: bytes,
        ) -> None:
            delivery = kind(
                self,
                tag,
                queue,
                properties.reply_to,
                properties.correlation_id,
                redelivered,
                user=properties.user_id,
            )
            on_delivery(delivery, properties, body)

        return on_message

    def reply(self, delivery: Delivery, body: bytes, message_type: str) -> None:
        """Write the answer, then count the request as done: in this order on one channel."""
        if delivery.finished or delivery.reply_to is None or not self.usable:
            return
        envelope = self._envelopes.get(message_type) or self._new_envelope(message_type)
        # Not mandatory: up to RabbitMQ 4.1 a reply to a direct reply-to address would be
        # returned as unroutable although it was delivered.
        self._channel.reply(delivery.reply_to, envelope, delivery.correlation_id, body)
        if delivery.since is not None:
            self._acks.replied.append(delivery.since)
        self.finish(delivery)

    def _new_envelope(self, message_type: str) -> Envelope:
        properties = Properties(
            content_type=_CONTENT_TYPE,
            expiration=_EXPIRATIONS.get(message_type),
            type=message_type.encode(),
            user_id=self._users.user_id,
            app_id=self._worker,
        )
        envelope = self._envelopes[message_type] = Envelope(properties)
        return envelope

    def finish(self, delivery: Delivery) -> None:
        """Acknowledge, with what else is due, at the end of this turn."""
        if delivery.finished:
            return
        delivery.finished = True
        self._acks.done(delivery.tag)

    def dead_letter(self, delivery: Delivery) -> None:
        """Refuse for good: the message goes where the queue's policy sends dead letters."""
        self._reject(delivery, requeue=False)

    def hand_back(self, delivery: Delivery) -> None:
        """Return to the queue, for another worker."""
        self._reject(delivery, requeue=True)

    def cancel(self, on_cancelled: Callable[[], None]) -> None:
        """Stop taking messages; what was delivered until then is still to be answered."""
        self._cancelling = len(self._consumer_tags)
        if not self._cancelling:
            on_cancelled()
            return

        def on_cancel_ok(_frame: object) -> None:
            self._cancelling -= 1
            if not self._cancelling:
                on_cancelled()

        try:
            for tag in self._consumer_tags:
                self._pika_channel.basic_cancel(tag, on_cancel_ok)
        except AMQPError:  # the channel is closing: nothing more will be delivered
            on_cancelled()

    def _reject(self, delivery: Delivery, *, requeue: bool) -> None:
        if self.usable and not delivery.finished:
            delivery.finished = True
            self._acks.rejected(delivery.tag)
            self._pika_channel.basic_reject(delivery.tag, requeue)
