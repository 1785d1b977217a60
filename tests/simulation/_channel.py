"""A worker's connection and channels, with the parts of pika's interface that the product uses.

Each channel has two lines: what the worker wrote and the broker has not handled (`up`), and what
the broker sent and the worker has not read (`down`).
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from pika.exceptions import (
    ChannelClosedByBroker,
    ChannelClosedByClient,
    ChannelWrongStateError,
    StreamLostError,
)
from pika.spec import Basic, BasicProperties

from idalloc_client.amqp._io._frames import Properties
from tests.simulation._broker import Broker, Consumer, Message, Pipe, Queue
from tests.simulation._flows import Callback, Flow

if TYPE_CHECKING:
    from tests.simulation._worker import SimWorker

_NO_PROPERTIES = Properties()
_RELEASE_4 = {"product": "RabbitMQ", "version": "4.3.0"}
"""From which on a worker expects quorum queues."""


class SimConnection:
    """One connection of a worker."""

    def __init__(self, worker: "SimWorker", broker: Broker) -> None:
        self.worker = worker
        self.broker = broker
        self.is_open = True
        self.params = SimpleNamespace(
            credentials=SimpleNamespace(username="idalloc-worker"), channel_max=None
        )
        self.server_properties: dict[str, Any] = _RELEASE_4 if broker.quorum else {}
        self.channels: list[SimChannel] = []
        self.eof = worker.flow()
        broker.connections.append(self)

    def channel(self, on_open_callback: Callable[[Any], None]) -> None:
        """Open a channel; the broker never refuses."""
        channel = self.new_channel()
        self.worker.call_soon(lambda: on_open_callback(channel))

    def new_channel(self) -> "SimChannel":
        """Make a channel that is open at once."""
        channel = SimChannel(self)
        self.channels.append(channel)
        return channel

    def finish(self) -> None:
        """Close, once the broker has handled all that was written."""
        busy = [channel.up for channel in self.channels if channel.up.items]
        left = len(busy)

        def handled() -> None:
            nonlocal left
            left -= 1
            if not left:
                self.broker.cut(self)

        for up in busy:
            up.push(handled)
        if not busy:
            self.broker.cut(self)

    def on_eof(self) -> None:
        """Let the worker notice that the connection is gone."""
        self.is_open = False
        reason = StreamLostError("lost")
        for channel in self.channels:
            channel.end_at_worker(reason)
        self.worker.on_lost(self, reason)


class SimChannel:
    """One channel, at both of its ends."""

    def __init__(self, connection: SimConnection) -> None:
        self.connection = connection
        self.is_open = True
        self._broker = connection.broker
        self._worker = connection.worker
        self.up = Flow(self._broker.flows)
        self.down = self._worker.flow()
        self._confirmed = self._worker.flow()  # confirms may overtake deliveries, and fall behind
        self.bound_at = 0
        self._dead = False  # at the broker
        self._confirms = False
        self._published = 0
        self._delivered = 0
        self._on_confirm: Callable[[Any], None] | None = None
        self._on_close: list[Callable[[Any, BaseException], None]] = []
        self._on_cancel: list[Callable[[Any], None]] = []
        self._on_return: list[Callable[..., None]] = []
        self._consumers: dict[str, tuple[Queue, Consumer]] = {}
        self._unacked: dict[int, tuple[Queue, Message]] = {}
        self._taken_away: set[int] = set()
        self._pipes: dict[Queue, Pipe] = {}
        self._heard: set[bytes] = set()

    # What a worker asks for

    def add_on_close_callback(self, callback: Callable[[Any, BaseException], None]) -> None:
        self._on_close.append(callback)

    def add_on_cancel_callback(self, callback: Callable[[Any], None]) -> None:
        self._on_cancel.append(callback)

    def add_on_return_callback(self, callback: Callable[..., None]) -> None:
        self._on_return.append(callback)

    def basic_qos(self, **_: object) -> None:
        """As many messages as there are."""

    def confirm_delivery(
        self, on_confirm: Callable[[Any], None], callback: Callable[[Any], None] | None = None
    ) -> None:
        del callback
        self._confirms = True
        self._on_confirm = on_confirm

    def exchange_declare(
        self, exchange: str, *_: object, passive: bool = False, **__: object
    ) -> None:
        """Make an exchange; who only looks for one looks for what is not there."""
        reason = ChannelClosedByBroker(404, f"NOT_FOUND - no exchange '{exchange}'")

        def refuse() -> None:
            self.end_at_broker()
            self.down.push(lambda: self._tell_closed(reason))

        self._ask(refuse if passive else lambda: None, None)

    def queue_declare(  # pika's
        self,
        queue: str,
        *,
        durable: bool = False,
        exclusive: bool = False,
        auto_delete: bool = False,
        arguments: dict[str, Any] | None = None,
        callback: Callable[[Any], None] | None = None,
    ) -> None:
        del durable
        owner = self.connection if exclusive else None
        self._ask(
            lambda: self._broker.declare(
                queue, owner, auto_delete=auto_delete, arguments=arguments
            ),
            callback,
        )

    def queue_bind(
        self,
        queue: str,
        exchange: str,
        routing_key: str = "",
        *,
        arguments: Any = None,
        callback: Callable[[Any], None] | None = None,
    ) -> None:
        del routing_key, arguments

        def bind() -> None:
            bound_at = self._broker.bind(queue, exchange)
            if self._broker.queues[queue].owner is not None:
                self.bound_at = bound_at

        self._ask(bind, callback)

    def basic_consume(  # noqa: PLR0917  # pika's
        self,
        queue: str,
        on_message_callback: Callable[..., None],
        auto_ack: bool = False,  # noqa: FBT001, FBT002
        exclusive: bool = False,  # noqa: FBT001, FBT002
        consumer_tag: str = "",
        arguments: dict[str, Any] | None = None,
        callback: Callable[[Any], None] | None = None,
    ) -> str:
        del exclusive

        def take(tag: int, message: Message) -> None:
            method = Basic.Deliver(
                consumer_tag, tag, message.redelivered, message.exchange, message.routing_key
            )
            headers = None if message.offset is None else {"x-stream-offset": message.offset}
            on_message_callback(self, method, BasicProperties(headers=headers), message.body)

        self.consume(queue, Consumer(self, consumer_tag, auto_ack, take), arguments, callback)
        return consumer_tag

    def consume(
        self,
        queue: str,
        consumer: Consumer,
        arguments: Mapping[str, Any] | None,
        callback: Callable[[Any], None] | None,
    ) -> None:
        """Subscribe; whoever consumes a queue of its own learns of it at some time."""

        def subscribe() -> None:
            source, given = self._broker.queues[queue], arguments or {}
            self._consumers[consumer.tag] = (source, consumer)
            consumer.cancelled_on_restart = bool(given.get("x-cancel-on-ha-failover"))
            source.subscribe(consumer, given.get("x-stream-offset"))

        quick = self._broker.queues[queue].owner is None
        self._ask(subscribe, callback, quick=quick)

    def basic_cancel(
        self, consumer_tag: str, callback: Callable[[Any], None] | None = None
    ) -> None:
        def unsubscribe() -> None:
            queue, consumer = self._consumers.pop(consumer_tag, (None, None))
            if queue is not None and consumer is not None:  # else the broker cancelled it
                queue.unsubscribe(consumer)

        self._ask(unsubscribe, callback, quick=False)

    def basic_publish(
        self,
        exchange: str,
        routing_key: str | bytes,
        body: bytes,
        properties: BasicProperties | Properties | None = None,
        mandatory: bool = False,  # noqa: FBT001, FBT002
    ) -> None:
        if not self.is_open:
            raise ChannelWrongStateError("the channel is closed")
        self._published += 1
        key = routing_key if isinstance(routing_key, str) else routing_key.decode("latin-1")
        message = Message(exchange, key, body, _travelling(properties))
        self.up.push(
            partial(self._route, message, self._published, properties, mandatory=mandatory)
        )

    def basic_ack(self, delivery_tag: int, multiple: bool = False) -> None:  # noqa: FBT001, FBT002
        self.up.push(partial(self._acknowledge, delivery_tag, multiple))

    def basic_reject(self, delivery_tag: int, requeue: bool = True) -> None:  # noqa: FBT001, FBT002
        def reject() -> None:
            queue, message = self._unacked.pop(delivery_tag, (None, None))
            if queue is None or message is None:
                assert delivery_tag in self._taken_away
            elif requeue:
                self._requeue(queue, message)
                queue.pump()

        self.up.push(reject)

    def close(self) -> None:
        if not self.is_open:
            return
        self.is_open = False

        def closed() -> None:
            self.end_at_broker()
            self.down.push(lambda: self._tell_closed(ChannelClosedByClient(0, "closed")))

        self.up.push(closed)

    def reply(self, correlation_id: bytes | None, body: bytes) -> None:
        """Publish to a caller."""
        self.up.push(partial(self._broker.on_reply, correlation_id or b"", body))

    # At the broker

    def _ask(
        self,
        do: Callback,
        callback: Callable[[Any], None] | None,
        *,
        quick: bool = True,
    ) -> None:
        """Have something done; where nothing else is under way, at once: that saves steps."""
        if quick and not self.up.items and not self.down.items:
            if not self._dead:
                do()
                if callback is not None:
                    self._worker.call_soon(lambda: callback(None))
            return

        def answer() -> None:
            do()
            if callback is not None:
                self.down.push(lambda: callback(None))

        self.up.push(answer)

    def _route(
        self,
        message: Message,
        number: int,
        properties: BasicProperties | Properties | None,
        *,
        mandatory: bool,
    ) -> None:
        broker = self._broker
        targets = broker.targets(message.exchange, message.routing_key)
        if self._confirms and message.exchange and broker.choices.chance(broker.nack_percent):
            self._confirm(Basic.Nack(number))
            return
        if mandatory and not targets:
            method = Basic.Return(312, "NO_ROUTE", message.exchange, message.routing_key)
            for on_return in self._on_return:
                self.down.push(partial(on_return, self, method, properties, message.body))
        arrival = _Arrival(self, number, len(targets))
        if not targets:
            arrival.confirm()
        order = next(broker.numbers)
        for queue in targets:
            if queue.owner is None and not queue.stream:
                queue.push(message)
                arrival.arrived()
            else:
                pipe = self._pipes.get(queue) or self._new_pipe(queue)
                pipe.send(order, partial(arrival.arrive, queue, message))

    def _new_pipe(self, queue: Queue) -> Pipe:
        pipe = self._pipes[queue] = Pipe(self._broker.flows, self, queue)
        return pipe

    def confirm(self, number: int) -> None:
        """Tell the worker that a message is in all its queues."""
        if self._confirms:
            self._confirm(Basic.Ack(number))

    def _confirm(self, method: Any) -> None:
        on_confirm = self._on_confirm
        if on_confirm is not None and not self._dead:
            self._confirmed.push(partial(self._read_confirm, on_confirm, method))

    def _read_confirm(self, on_confirm: Callable[[Any], None], method: Any) -> None:
        if self.is_open:
            on_confirm(SimpleNamespace(method=method))

    def deliver(self, queue: Queue, consumer: Consumer, message: Message) -> None:
        """Send a message to the worker."""
        self._delivered += 1
        tag = self._delivered
        if not consumer.auto_ack:
            self._unacked[tag] = (queue, message)
        self.down.push(partial(self._read, consumer, tag, message))

    def _read(self, consumer: Consumer, tag: int, message: Message) -> None:
        if self.is_open:
            self._heard.add(_sender(message))
            if self._worker.trace is not None:
                self._worker.trace(f"reads {message.body.decode()[:150]}")
            consumer.take(tag, message)

    def drop_oldest(self, consumer: Consumer) -> bool:
        """Lose the oldest messages that wait to be read; False if nobody could tell.

        Whoever reads on can tell that something is missing if what is lost is followed by a message
        of a sender that it has heard before, and that some of it is from, too.
        """
        waiting = [
            (item, item.args[2])
            for item in self.down.items
            if isinstance(item, partial) and item.func == self._read and item.args[0] is consumer
        ]
        senders: set[bytes] = set()
        ends: list[int] = []
        for position, (_, message) in enumerate(waiting):
            sender = _sender(message)
            if sender and sender in senders & self._heard:
                ends.append(position)
            senders.add(sender)
        if not ends:
            return False
        end = ends[self._broker.choices.below(len(ends))]
        for item, _ in waiting[:end]:
            self.down.items.remove(item)
        return True

    def on_cancelled(self, tag: str) -> None:
        """Let the worker know that the broker cancelled a consumer, after what it was sent."""
        del self._consumers[tag]
        self.down.push(lambda: self._read_cancel(tag))

    def _read_cancel(self, tag: str) -> None:
        if self.is_open:
            for callback in self._on_cancel:
                callback(SimpleNamespace(method=Basic.Cancel(tag)))

    def _acknowledge(self, tag: int, multiple: bool) -> None:  # noqa: FBT001
        tags = [each for each in self._unacked if each <= tag] if multiple else [tag]
        if tag not in self._unacked and tag not in self._taken_away:
            raise AssertionError(f"delivery {tag} was acknowledged that is not open")
        for each in tags:
            self._unacked.pop(each, None)

    def take_away(self, queue: Queue) -> None:
        """Give back to a queue what it has delivered here; the worker hears nothing of that."""
        tags = [tag for tag, (source, _) in self._unacked.items() if source is queue]
        for tag in reversed(tags):
            self._requeue(*self._unacked.pop(tag))
        self._taken_away.update(tags)

    def _requeue(self, queue: Queue, message: Message) -> None:
        if not queue.stream:
            queue.messages.appendleft(replace(message, redelivered=True))

    def end_at_broker(self) -> None:
        """Let the broker forget the channel; what was written and not handled is lost."""
        if self._dead:
            return
        self._dead = True
        self.up.clear()
        self.up.hold(held=True)
        unacked = list(self._unacked.values())
        self._unacked.clear()
        for queue, message in reversed(unacked):
            self._requeue(queue, message)
        for queue, consumer in self._consumers.values():
            queue.unsubscribe(consumer)
        self._consumers.clear()
        for queue, _ in unacked:
            queue.pump()

    # At the worker

    def end_at_worker(self, reason: BaseException) -> None:
        """Let the worker know that the channel is gone."""
        self.down.clear()
        self._confirmed.clear()
        if self.is_open:
            self.is_open = False
            self._tell_closed(reason)

    def _tell_closed(self, reason: BaseException) -> None:
        for callback in self._on_close:
            callback(self, reason)


class _Arrival:
    """A message on its way to several queues."""

    __slots__ = ("_channel", "_number", "_waiting")

    def __init__(self, channel: SimChannel, number: int, waiting: int) -> None:
        self._channel = channel
        self._number = number
        self._waiting = waiting

    def arrive(self, queue: Queue, message: Message) -> None:
        """Come into a queue; one that is gone counts as well."""
        if not queue.deleted:
            queue.push(message)
        self.arrived()

    def arrived(self) -> None:
        """Count a queue."""
        self._waiting -= 1
        if not self._waiting:
            self.confirm()

    def confirm(self) -> None:
        """Tell the sender."""
        self._channel.confirm(self._number)


def _sender(message: Message) -> bytes:
    """Tell who has numbered a message; nothing of one that has no number."""
    return (message.properties.message_id or b"").rpartition(b"-")[0]


def _travelling(properties: BasicProperties | Properties | None) -> Properties:
    if isinstance(properties, Properties):
        return properties
    user = None if properties is None else properties.user_id
    expiration = None if properties is None else properties.expiration
    number = None if properties is None else properties.message_id
    if user is None and expiration is None and number is None:
        return _NO_PROPERTIES
    return Properties(
        user_id=None if user is None else user.encode(),
        message_id=None if number is None else number.encode(),
        expiration=None if expiration is None else str(expiration).encode(),
    )
