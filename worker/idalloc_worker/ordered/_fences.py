"""Fences: how the owner of a partition learns that a quorum queue has passed it over.

RabbitMQ takes a quorum queue's messages away from the active consumer without a word while that
one's node cannot be reached, and may give them to it again once others had their turn: the ids that
it still holds are lower by then than those that went out meanwhile. But what was delivered to a
consumer and is not acknowledged goes to the next one, and comes before all that is in the queue,
marked as redelivered; in 3.10 as in 4.3.

So an owner answers nothing before a message of its own has come to it through the queue: its
*fence*. It keeps that one unacknowledged for as long as it owns the partition. If a message comes
from then on that was delivered before, or somebody else's fence, the partition has had another
owner. Fences have no expiry, and are renewed before they could count as old or as never finished.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from idalloc_client.amqp import Properties
from idalloc_worker.requests import Delivery, OnDelivery, as_copy
from idalloc_worker.rights import FleetUsers

FENCE_TYPE: Final = b"id.ordered.fence"

AGAIN: Final = 0.5
"""Seconds after which a fence that has not come is sent again: a full queue has refused it."""
MOST_SENT: Final = 6
"""Times that it is sent, before another channel is tried (`SILENT_AFTER` says why)."""
RENEWED: Final = 10.0
"""Seconds after which a fence is replaced. A minute is the shortest time to live in use, and what
is acknowledged behind an old one takes a frame of its own."""
MOST_WAITING: Final = 128
"""Messages that wait for a fence, less than the prefetch: it has to come in behind them."""


class Publisher(Protocol):
    """The channel of a generation."""

    @property
    def is_open(self) -> bool:
        """Whether what is written has an effect."""

    def publish(self, routing_key: bytes, properties: Properties, body: bytes) -> None:
        """Publish to a queue."""


@dataclass(slots=True, eq=False)
class _Partition:
    queue: str
    fence: Delivery | None = None
    sent: int = 0
    earlier: list[Delivery] = field(default_factory=list)
    """Fences of others: kept until there is one of this generation."""
    waiting: list[tuple[Delivery, Properties, bytes, float]] = field(default_factory=list)


class Fences:
    """Owned by the link's thread, for one generation.

    `handle` takes what waited, and `on_over` hears why this generation owns nothing any more.
    """

    def __init__(  # noqa: PLR0913  # its surroundings
        self,
        channel: Publisher,
        later: Callable[[float, Callable[[], None]], object],
        clock: Callable[[], float],
        *,
        users: FleetUsers,
        handle: OnDelivery,
        on_over: Callable[[str], None],
    ) -> None:
        self._channel = channel
        self._later = later
        self._clock = clock
        self._users = users
        self._handle = handle
        self._on_over = on_over
        self._mark = secrets.token_hex(8).encode()
        self._partitions: dict[str, _Partition] = {}

    def admits(self, delivery: Delivery, properties: Properties, body: bytes) -> bool:
        """Whether a message may be handled; otherwise it waits, or was a fence."""
        if not self._users.trusts(delivery.user) and self._users.known:
            return True  # nobody answers it
        partition = self._partitions.get(delivery.queue) or self._begin(delivery.queue)
        fence = properties.type == FENCE_TYPE
        if fence and body == self._mark and not delivery.redelivered:
            self._hold(partition, delivery)
            return False
        if partition.fence is None:
            self._keep(partition, delivery, properties, body, fence=fence)
            return False
        if fence or delivery.redelivered:
            self._on_over("a partition had another owner meanwhile")
            return False
        return True

    def admits_direct(self, delivery: Delivery) -> bool:
        """Whether this generation may answer what a caller sent here: it owns the partition.

        What was delivered before says nothing here. It is passed on, and comes behind the fence.
        """
        partition = self._partitions.get(delivery.queue) or self._begin(delivery.queue)
        return partition.fence is not None and not delivery.redelivered

    def _begin(self, queue: str) -> _Partition:
        partition = self._partitions[queue] = _Partition(queue)
        self._send(partition)
        return partition

    def _send(self, partition: _Partition) -> None:
        if not self._channel.is_open:
            return
        if partition.fence is None and partition.sent == MOST_SENT:
            self._on_over("nothing comes of what is sent to a partition")
        else:
            partition.sent += 1
            fence = Properties(type=FENCE_TYPE, user_id=self._users.user_id)
            self._channel.publish(partition.queue.encode(), fence, self._mark)
            pause = AGAIN if partition.fence is None else RENEWED
            self._later(pause, lambda: self._send(partition))

    def _hold(self, partition: _Partition, fence: Delivery) -> None:
        """Keep the newest; only then may those before it be forgotten."""
        before = [*partition.earlier, *([partition.fence] if partition.fence else [])]
        partition.fence, partition.earlier = fence, []
        for delivery in before:
            delivery.session.finish(delivery)
        waiting, partition.waiting = partition.waiting, []
        for delivery, properties, body, came in waiting:
            aged = as_copy(properties, properties.user_id, aged=self._clock() - came)
            self._handle(delivery, aged, body)

    def _keep(
        self,
        partition: _Partition,
        delivery: Delivery,
        properties: Properties,
        body: bytes,
        *,
        fence: bool,
    ) -> None:
        if fence:
            partition.earlier.append(delivery)
        elif len(partition.waiting) < MOST_WAITING:
            partition.waiting.append((delivery, properties, body, self._clock()))
        else:  # to the end of the queue, behind the fence
            copy = as_copy(properties, self._users.user_id)
            self._channel.publish(partition.queue.encode(), copy, body)
            delivery.session.finish(delivery)
