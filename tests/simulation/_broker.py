"""RabbitMQ as a fleet sees it: queues, a fanout exchange, confirms, streams, and their faults.

What a channel publishes travels to each queue in a line of its own, so that a message can be in one
queue and not yet in the next. A queue hands what it has to its consumers' channels at once: there
it waits until the worker reads it.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import count
from typing import TYPE_CHECKING, Any

from idalloc_client.amqp._io._frames import Properties
from idalloc_schemas import ALLOC_QUEUE, FLEET_HEALTH_EXCHANGE, HEALTH_QUEUE
from tests.simulation._choices import Choices
from tests.simulation._flows import Callback, Flow, Flows

if TYPE_CHECKING:
    from tests.simulation._channel import SimChannel, SimConnection


@dataclass(frozen=True, slots=True)
class Message:
    """One message on its way."""

    exchange: str
    routing_key: str
    body: bytes
    properties: Properties
    redelivered: bool = False
    offset: int | None = None
    """Its place in a stream."""


@dataclass(slots=True, eq=False)
class Consumer:
    """A subscription; `take` is called when the worker reads a message of it."""

    channel: "SimChannel"
    tag: str
    auto_ack: bool
    take: Callable[[int, Message], None]
    cancelled_on_restart: bool = False
    """Whether the broker says so when the queue's process is restarted."""


@dataclass(slots=True, eq=False)
class Queue:
    """One queue; of a stream nothing is ever taken out."""

    broker: "Broker"
    name: str
    owner: "SimConnection | None" = None
    auto_delete: bool = False
    single_active: bool = False
    stream: bool = False
    deleted: bool = False
    messages: deque[Message] = field(default_factory=deque)
    consumers: list[Consumer] = field(default_factory=list)
    active: Consumer | None = None
    pipes: "list[Pipe]" = field(default_factory=list)

    def push(self, message: Message) -> None:
        """Take a message in."""
        if self.stream:
            message = replace(message, offset=len(self.messages))
            self.messages.append(message)
            for consumer in self.consumers:
                consumer.channel.deliver(self, consumer, message)
        else:
            self.messages.append(message)
            self.pump()

    def pump(self) -> None:
        """Hand messages to consumers; a stream keeps its own, and has sent what there was."""
        while not self.stream and self.messages and (consumer := self._next_consumer()) is not None:
            consumer.channel.deliver(self, consumer, self.messages.popleft())

    def _next_consumer(self) -> Consumer | None:
        if not self.consumers:
            return None
        if self.single_active:
            if self.active is None:
                self.active = self.broker.one_of(self.consumers)
            return self.active
        return self.broker.one_of(self.consumers)

    def subscribe(self, consumer: Consumer, offset: object = None) -> None:
        """Add a consumer; of a stream it gets all from an offset on."""
        self.consumers.append(consumer)
        if not self.stream:
            self.pump()
            return
        first = {"first": 0, "next": len(self.messages), "last": max(len(self.messages) - 1, 0)}
        start = offset if isinstance(offset, int) else first.get(str(offset), len(self.messages))
        for message in list(self.messages)[start:]:
            consumer.channel.deliver(self, consumer, message)

    def unsubscribe(self, consumer: Consumer) -> None:
        """Remove a consumer; another one becomes active in its place."""
        self.consumers.remove(consumer)
        if self.active is consumer:
            self.active = None
        if self.auto_delete and not self.consumers:
            self.broker.delete(self)
        else:
            self.pump()

    def lose(self) -> None:
        """Lose all that is in it, as a queue's process does that is restarted."""
        self.messages.clear()
        for pipe in self.pipes:
            pipe.forget_bodies()
        self.cancel_consumers()

    def cancel_consumers(self) -> None:
        """Cancel those that asked to be told of a restart; the others go on as if nothing was."""
        for consumer in [one for one in self.consumers if one.cancelled_on_restart]:
            self.consumers.remove(consumer)
            if self.active is consumer:
                self.active = None
            consumer.channel.on_cancelled(consumer.tag)


class Pipe(Flow):
    """The way from one channel to one queue."""

    __slots__ = ("heads", "queue", "source")

    def __init__(self, flows: Flows, source: "SimChannel", queue: Queue) -> None:
        super().__init__(flows)
        self.source = source
        self.queue = queue
        self.heads: deque[int] = deque()
        queue.pipes.append(self)

    def send(self, number: int, callback: Callback) -> None:
        """Let a message that was routed as the `number`-th one arrive later."""
        self.heads.append(number)
        self.push(callback)

    def run(self) -> None:
        """Let the next one arrive.

        A message that was routed before a worker bound its queue comes into every other queue
        before what that worker says.
        """
        bound_at = self.source.bound_at
        ahead = [pipe for pipe in self.queue.pipes if pipe.heads and pipe.heads[0] < bound_at]
        first = min(ahead, key=lambda pipe: pipe.heads[0]) if ahead else self
        first.heads.popleft()
        super(Pipe, first).run()

    def clear(self) -> None:
        """Let nothing arrive any more."""
        self.heads.clear()
        super().clear()

    def forget_bodies(self) -> None:
        """Lose what is on its way; its senders get no confirm."""
        self.clear()


class Broker:
    """One node. `on_reply` is told of what is published to callers."""

    def __init__(
        self, flows: Flows, choices: Choices, on_reply: Callable[[bytes, bytes], None]
    ) -> None:
        self.flows = flows
        self.choices = choices
        self.on_reply = on_reply
        self.queues: dict[str, Queue] = {}
        self.bindings: dict[str, list[Queue]] = {}
        self.numbers = count(1)
        self.connections: list[SimConnection] = []
        self.nack_percent = 0
        self.has_streams = True
        self.quorum = False
        """Whether the queues of partitions are quorum queues."""
        for name in (ALLOC_QUEUE, HEALTH_QUEUE):
            self.declare(name)

    def one_of(self, consumers: list[Consumer]) -> Consumer:
        """Choose one."""
        return consumers[self.choices.below(len(consumers))] if len(consumers) > 1 else consumers[0]

    def declare(
        self,
        name: str,
        owner: "SimConnection | None" = None,
        *,
        auto_delete: bool = False,
        arguments: dict[str, Any] | None = None,
    ) -> None:
        """Create a queue if there is none of that name."""
        if name in self.queues:
            return
        arguments = arguments or {}
        self.queues[name] = Queue(
            self,
            name,
            owner,
            auto_delete,
            bool(arguments.get("x-single-active-consumer")),
            self.has_streams and arguments.get("x-queue-type") == "stream",
        )

    def bind(self, name: str, exchange: str) -> int:
        """Let a queue have what is sent to an exchange; returns since when."""
        bound = self.bindings.setdefault(exchange, [])
        if self.queues[name] not in bound:
            bound.append(self.queues[name])
        return next(self.numbers)

    def delete(self, queue: Queue) -> None:
        """Remove a queue; what is on its way to it arrives nowhere."""
        if queue.deleted:
            return
        queue.deleted = True
        del self.queues[queue.name]
        for bound in self.bindings.values():
            if queue in bound:
                bound.remove(queue)

    def targets(self, exchange: str, routing_key: str) -> list[Queue]:
        """Route."""
        if exchange:
            return list(self.bindings.get(exchange, ()))
        queue = self.queues.get(routing_key)
        return [] if queue is None else [queue]

    # Faults

    def cut(self, connection: "SimConnection") -> None:
        """Give a connection up: its worker will hear of it, and what it still writes is lost."""
        if connection not in self.connections:
            return
        self.connections.remove(connection)
        for channel in connection.channels:
            channel.end_at_broker()
        for queue in list(self.queues.values()):
            if queue.owner is connection:
                self.delete(queue)
        connection.eof.push(connection.on_eof)

    def restart(self) -> list[Message]:
        """Lose all connections and all that was in queues; returns the requests among it."""
        for queue in self.queues.values():
            for pipe in queue.pipes:
                pipe.clear()
        for connection in list(self.connections):
            self.cut(connection)
        lost: list[Message] = []
        for queue in self.queues.values():
            if not queue.stream:
                lost += queue.messages
                queue.messages.clear()
        return lost

    def move_partition(self) -> bool:
        """Restart the process of a partition's queue; False if there is none.

        Its messages are on the disk. Consumers that are not told consume again in any order.
        """
        held = [q for q in self.queues.values() if q.single_active and len(q.consumers) > 1]
        if not held:
            return False
        queue = held[self.choices.below(len(held))]
        queue.cancel_consumers()
        others = [one for one in queue.consumers if one is not queue.active]
        if others:
            queue.active = others[self.choices.below(len(others))]
        queue.pump()
        return True

    def pass_over(self) -> bool:
        """Let a partition's quorum queue go to another consumer; False if there is none.

        The one before stays where it is, and may come to have it again.
        """
        held = [q for q in self.queues.values() if q.active and len(q.consumers) > 1]
        if not held or not self.quorum:
            return False
        queue = held[self.choices.below(len(held))]
        before = queue.active
        assert before is not None
        others = [one for one in queue.consumers if one is not before]
        queue.active = others[self.choices.below(len(others))]
        before.channel.take_away(queue)
        queue.pump()
        return True

    def lose_fleet_messages(self) -> bool:
        """Have the process of a fleet's queue restart; False if there is none.

        Questions about health that are lost with theirs are nobody's claims.
        """
        held = self._fleet_queues()
        if not held:
            return False
        held[self.choices.below(len(held))].lose()
        return True

    def _fleet_queues(self) -> list[Queue]:
        return [
            queue
            for queue in self.queues.values()
            if queue.owner is not None and not queue.name.startswith(FLEET_HEALTH_EXCHANGE)
        ]

    def drop_oldest(self) -> bool:
        """Have a fleet's queue be full, and drop its oldest messages; False if none could be."""
        held = [queue for queue in self._fleet_queues() if queue.consumers]
        start = self.choices.below(len(held)) if held else 0
        queues = held[start:] + held[:start]
        return any(one.channel.drop_oldest(one) for queue in queues for one in queue.consumers)
