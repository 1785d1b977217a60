"""Consumes every partition of the ordered tags; the broker says whose turn it is by delivering.

AMQP does not tell a consumer of a queue with a single active consumer whether it is the one. So
what a worker holds for ordered tags belongs to one *generation*: the life of one channel with a
consumer on each partition. A classic queue's consumer that has been delivered to stays the active
one until its channel ends or the broker cancels it, which it does when the queue is deleted, its
process starts anew or a mirror takes its place (`consumer_arguments`). Of a quorum queue it has to
find out by itself (`Fences`). Either is the end of the generation, with all that was held.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final, Protocol

from idalloc_client.amqp import (
    Channel,
    ChannelClosedByBroker,
    Connection,
    MessageChannel,
    Properties,
    ReopeningChannel,
    ReplyCode,
)
from idalloc_worker.counters import ThrottledLog
from idalloc_worker.ordered._fences import Fences
from idalloc_worker.ordered._flood_guard import FloodGuard
from idalloc_worker.ordered._forwarder import Loop
from idalloc_worker.ordered._owner_session import DirectRequest, OwnerSession
from idalloc_worker.ordered._queue_kind import KindOfQueues, is_about_arguments
from idalloc_worker.requests import REQUEST_TYPE, Delivery, Holding, OnDelivery, release_of
from idalloc_worker.rights import FleetUsers
from idalloc_worker.tags import HIGHEST_PRECEDENCE, QUEUES, precedence

_log = logging.getLogger("idalloc.ordered")

_PREFETCH: Final = 2000
"""Messages of each partition: more than there may be requests that wait for one tag's refill, as
other tags' stand behind them. With a few, a caller that writes to the queue without measure fills
it faster than it can be emptied."""

_SPREAD: Final = 0.3
"""Seconds over which a worker joins the partitions, those first that it wants most: workers that
start at the same time, or come back to a broker that was restarted, share them."""

_RETRY_AFTER: Final = 5.0  # seconds
_REOPEN_AFTER: Final = 0.1  # seconds

_ADVICE: Final = {
    ReplyCode.ACCESS_REFUSED: "give its user read permission on id.ordered.*",
    ReplyCode.NOT_FOUND: "create the queues (deploy/rabbitmq/definitions.json), or give its user "
    "configure permission on id.ordered.*",
    ReplyCode.PRECONDITION_FAILED: "delete the queue: it has no x-single-active-consumer, so "
    "that ids would not be in order, or is of another type than those of the other partitions",
}


class OwnerLoop(Loop, Protocol):
    """What it needs of a link."""

    def message_channel(self, channel: Channel) -> MessageChannel:
        """Use a further channel of the present connection."""


class PartitionOwner:
    """Owned by the link's thread; between `start` and `stop` it keeps a generation going.

    `on_bundle` takes what workers send, `on_dropped` hears of a caller's request that is not even
    answered, and `on_replied` since when what was answered had been here. `on_end` is called when a
    generation is over: what was held for it is void.
    """

    def __init__(  # noqa: PLR0913  # four are what it has to tell
        self,
        worker: str,
        loop: OwnerLoop,
        clock: Callable[[], float],
        *,
        users: FleetUsers,
        on_bundle: OnDelivery,
        on_dropped: Callable[[Delivery], None],
        on_replied: Callable[[list[float]], None],
        on_end: Callable[[], None],
    ) -> None:
        self._worker = worker
        self._loop = loop
        self._clock = clock
        self._users = users
        self._on_bundle = on_bundle
        self.on_request: OnDelivery
        """Takes what callers send; whoever that is has to be there before the first `start`."""
        self._on_dropped = on_dropped
        self._on_replied = on_replied
        self._on_end = on_end
        self._throttled = ThrottledLog(_log)
        self._channels = ReopeningChannel(
            loop.call_later,
            on_open=self._on_open,
            on_unopened=lambda _error: _REOPEN_AFTER,
            on_closed=self._on_closed,
            on_cancelled=self._on_cancelled_by_broker,
        )
        self._session: OwnerSession | None = None
        self._fences: Fences | None = None
        self._queues = KindOfQueues()
        self._may_declare = True
        self._declaring = False
        self._to_join = 0
        self._floods = FloodGuard(clock)
        self._on_cancelled: Callable[[], None] | None = None
        self.problem: str | None = None
        """Why this worker, and most likely every other one, cannot be an owner."""
        self.delivered_to: set[int] = set()
        """The partitions that this generation owns for certain."""

    def start(self, connection: Connection) -> None:
        """Begin on a fresh connection."""
        self._channels.connect(connection)

    def stop(self) -> None:
        """End the generation: the connection is lost, or is to be given up."""
        if self._channels.disconnect():
            self._end()

    def cancel(self, on_cancelled: Callable[[], None]) -> None:
        """Stop taking requests; those that were taken are still to be answered."""
        self._channels.connection = None  # no generation follows
        if self._session is None or not self._session.usable:
            on_cancelled()
            return
        if self._fences is not None:
            # What a cancelled consumer has not acknowledged, its fence too, would stay with it
            # while the next one is served: it gives up both at once, in `flush`.
            self._session.leaving = True
            on_cancelled()
            return
        self._on_cancelled = on_cancelled
        self._session.cancel(self._tell_cancelled)

    def flush(self) -> None:
        """Send the acknowledgements that are due; where that was not done yet, stop consuming."""
        if self._session is not None:
            self._session.flush()
            if self._session.leaving:
                self._channels.drop()

    def _on_open(self, channel: Channel) -> None:
        channel.basic_qos(prefetch_count=_PREFETCH)
        self._queues.begin(release_of(channel.connection.server_properties))
        self._declaring = self._may_declare
        if self._may_declare:
            # Declared where that is allowed, since only so does the broker say that a queue is
            # not one with a single active consumer.
            self._declare(channel, self._queues.declarations())
        else:
            self._consume(channel)

    def _declare(self, channel: Channel, wanted: Iterator[tuple[str, Mapping[str, Any]]]) -> None:
        if channel is not self._channels.channel or not channel.is_open:
            return  # the answer to the one before came when the channel was going already
        queue, arguments = next(wanted, (None, {}))
        if queue is None:
            self._declaring = False
            self._consume(channel)
            return
        channel.queue_declare(
            queue,
            durable=True,
            arguments=dict(arguments),
            callback=lambda _frame: self._declare(channel, wanted),
        )

    def _consume(self, channel: Channel) -> None:
        if channel is not self._channels.channel:
            return
        parts = (self._loop.message_channel(channel), self._worker, self._loop.call_soon)
        quorum = self._queues.kind.silent
        # On a quorum queue the next bundle waits for what the broker writes of the last one.
        holding = Holding.within(_PREFETCH, self._loop.call_later) if quorum else None
        session = self._session = OwnerSession(
            *parts, self._on_replied, users=self._users, holding=holding
        )
        self._fences = self._new_fences(parts[0]) if quorum else None
        self._to_join = len(QUEUES)
        for partition in range(len(QUEUES)):
            delay = _SPREAD * (1 - precedence(self._worker, partition) / HIGHEST_PRECEDENCE)
            self._loop.call_later(delay, partial(self._join, session, partition))

    def _new_fences(self, channel: MessageChannel) -> Fences:
        return Fences(
            channel,
            self._loop.call_later,
            self._clock,
            users=self._users,
            handle=self._take,
            on_over=self._on_over,
        )

    def _join(self, session: OwnerSession, partition: int) -> None:
        if session is not self._session or self._channels.connection is None or not session.usable:
            return  # the generation is over, or about to be
        queue = QUEUES[partition]
        session.consume(
            queue,
            f"{self._worker} {queue.removeprefix('id.')}",
            self._on_delivery,
            self._on_joined,
            arguments=self._queues.kind.consumer_arguments(self._worker, partition),
        )

    def _on_joined(self) -> None:
        self._to_join -= 1
        if not self._to_join:
            self.problem = None
            self._queues.fits()
            _log.info("Ready for ordered tags")

    def _on_delivery(self, delivery: Delivery, properties: Properties, body: bytes) -> None:
        session, fences = self._session, self._fences
        if session is None or delivery.session is not session:
            return  # it came while the channel was being closed: the generation is over
        if properties.type == REQUEST_TYPE:
            if self._floods.refuses(delivery.user):
                session.finish(delivery)
                self._on_dropped(delivery)
                return
            request = session.direct(delivery)
            request.admitted = fences is None or fences.admits_direct(delivery)
            if request.admitted:
                self.delivered_to.add(QUEUES.index(delivery.queue))
            self.on_request(request, properties, body)
        elif fences is None or fences.admits(delivery, properties, body):
            self._take(delivery, properties, body)

    def _take(self, delivery: Delivery, properties: Properties, body: bytes) -> None:
        self.delivered_to.add(QUEUES.index(delivery.queue))
        self._on_bundle(delivery, properties, body)

    def owns(self, request: DirectRequest) -> bool:
        """Whether a request came to this generation, and as the owner's."""
        return request.admitted and request.session is self._session

    # The end of a generation

    def _on_cancelled_by_broker(self) -> None:
        _log.warning("The broker cancelled a consumer of ordered tags; starting anew")
        self._start_anew()

    def _on_over(self, reason: str) -> None:
        _log.warning("Starting anew with ordered tags: %s", reason)
        self._start_anew()

    def _start_anew(self) -> None:
        self._channels.drop()
        self._end()
        self._channels.open_later(_REOPEN_AFTER)

    def _on_closed(self, reason: BaseException) -> float:
        self._end()
        if self._users.refused(reason):
            return _REOPEN_AFTER
        code = reason.reply_code if isinstance(reason, ChannelClosedByBroker) else None
        if code == ReplyCode.ACCESS_REFUSED and self._declaring:
            self._may_declare = False  # then the queues have to be there
            return 0.0
        if self._queues.refused(reason):
            return 0.0
        if code == ReplyCode.PRECONDITION_FAILED and not is_about_arguments(reason):
            code = None  # a delivery tag, say, or an acknowledgement that was too late
        self._may_declare = True
        if code in _ADVICE:
            self.problem = f"the workers cannot use the queues id.ordered.*: {_ADVICE[code]}"
            self._throttled.warning(
                self._clock(),
                f"ordered {code}",
                "This worker does not serve ordered tags: %s. To have it do so, %s",
                getattr(reason, "reply_text", reason),
                _ADVICE[code],
            )
        return _RETRY_AFTER if code in _ADVICE else _REOPEN_AFTER

    def _end(self) -> None:
        begun = self._session is not None
        self._session = self._fences = None
        self.delivered_to.clear()
        if begun:  # else nothing was held: the queues were only being declared
            self._on_end()
        self._tell_cancelled()

    def _tell_cancelled(self) -> None:
        if self._on_cancelled is not None:
            on_cancelled, self._on_cancelled = self._on_cancelled, None
            on_cancelled()
