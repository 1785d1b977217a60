"""Passes requests for ordered tags on to the owners of their partitions."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Any, Final, Protocol

from idalloc_client.amqp import (
    Basic,
    BasicProperties,
    Channel,
    ChannelClosedByBroker,
    Confirms,
    Connection,
    DeliveryMode,
    ReopeningChannel,
    Timer,
)
from idalloc_schemas import CONTENT_TYPE, RespCode
from idalloc_worker.counters import Event, Events, ThrottledLog
from idalloc_worker.engine import Refused
from idalloc_worker.ordered._bundles import (
    BUNDLE_TYPE,
    Bundle,
    OrderedRequest,
    bundled,
    encode_bundle,
)
from idalloc_worker.ordered._second_tries import LONGEST, SecondTries
from idalloc_worker.requests import Delivery
from idalloc_worker.rights import FleetUsers
from idalloc_worker.tags import QUEUES

_log = logging.getLogger("idalloc.ordered")

_REOPEN_AFTER: Final = 0.5  # seconds
SILENT_AFTER: Final = 3.0
"""Seconds without a confirm after which requests are passed on over another channel.

A frozen leader of a quorum queue says nothing for so long.
"""
REOPENED_AT_MOST: Final = 1.0
"""Seconds between two channels that are given up because a queue takes nothing over them.

A channel of RabbitMQ 3.10 that first uses a quorum queue in the moment in which its leader dies
refuses all messages for it until that leader's node is back. The queue may be full, too.
"""
_LOOK_EVERY: Final = 1.0  # seconds
RETRY_AFTER: Final = 1.0
"""Seconds that a caller waits before it asks for an ordered tag again."""

_NOT_ROUTED: Final = Refused(
    RespCode.NO_AVAILABLE_ID,
    "no available id: a queue id.ordered.* is missing, see the worker's log",
    RETRY_AFTER,
)
_NOT_TAKEN: Final = Refused(
    RespCode.BUSY, "the queue of this app_tag's partition is full", RETRY_AFTER
)
_LOST: Final = Refused(RespCode.SHUTTING_DOWN, "the request could not be passed on", 0.1)


@dataclass(frozen=True, slots=True)
class _Sent:
    at: float
    partition: int
    deliveries: list[Delivery]


class Loop(Protocol):
    """What it needs of a link."""

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Run a callback at the end of this turn."""

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        """Run a callback after `delay` seconds."""


class Responder(Protocol):
    """Where a request goes that could not be passed on."""

    def answer(self, delivery: Delivery, refusal: Refused) -> None:
        """Refuse it, or hand it back."""

    def expire(self, delivery: Delivery) -> None:
        """Drop it: its caller has stopped waiting."""


class Forwarder:
    """Owned by the link's thread; from `open` to `lose` it has a channel in confirm mode.

    A request counts as done only once the broker has confirmed that its owner's queue has it.
    """

    def __init__(  # noqa: PLR0913, PLR0917  # its surroundings
        self,
        worker: str,
        loop: Loop,
        responder: Responder,
        clock: Callable[[], float],
        events: Events,
        users: FleetUsers,
    ) -> None:
        self._worker = worker
        self._loop = loop
        self._responder = responder
        self._clock = clock
        self._throttled = ThrottledLog(_log)
        self._events = events
        self._users = users
        self._channels = ReopeningChannel(
            loop.call_later,
            on_open=self._on_open,
            on_unopened=lambda _error: _REOPEN_AFTER,
            on_closed=self._on_closed,
        )
        self._waiting: list[Delivery] = []
        self._flush_pending = False
        self._confirms = Confirms[_Sent]()
        self._looking = False
        self._took: set[int] = set()
        """Partitions of which the broker has taken something over the present channel."""
        self._reopened_at = -inf
        self._returned: set[int] = set()
        self._missing_since: dict[int, float] = {}
        """Partitions whose queue was missing, and took nothing since."""
        self._second_tries = SecondTries(loop.call_later, clock, self.add)
        self._on_idle: Callable[[], None] | None = None

    def open(self, connection: Connection) -> None:
        """Open a channel on a fresh connection."""
        self._users.log_in(connection)
        self._channels.connect(connection)

    def lose(self) -> None:
        """Forget everything: the connection is gone, and the broker delivers the requests anew."""
        self._waiting.clear()
        self._second_tries.clear()
        self._missing_since.clear()
        self._forget_unconfirmed()
        self._channels.disconnect()
        self._tell_idle()

    def add(self, delivery: Delivery) -> None:
        """Pass a request on at the end of this turn, together with others that come in it."""
        self._waiting.append(delivery)
        self._flush_soon()

    def when_idle(self, on_idle: Callable[[], None]) -> None:
        """Call `on_idle` once every request is with its owner's queue, or answered."""
        self._on_idle = on_idle
        self._tell_idle()

    def _on_open(self, channel: Channel) -> None:
        channel.add_on_return_callback(self._on_return)
        channel.confirm_delivery(self._on_confirm)
        self._flush_soon()

    def _on_closed(self, reason: BaseException) -> float | None:
        if not isinstance(reason, ChannelClosedByBroker):
            return None  # the connection is lost, or closed by this worker: `lose` follows
        _log.warning("The broker closed a channel for ordered tags: %s", reason.reply_text)
        self._users.refused(reason)  # it knows this user by another name (OAuth 2)
        for sent in self._forget_unconfirmed():
            for delivery in sent.deliveries:  # whether their owner has them is unknown
                self._second_tries.forget(delivery)
                self._responder.answer(delivery, _LOST)
        self._tell_idle()
        return _REOPEN_AFTER

    # Publishing

    def _flush_soon(self) -> None:
        if not self._flush_pending:
            self._flush_pending = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_pending = False
        channel = self._channels.channel
        if channel is None or not channel.is_open:
            return  # they wait for the next one: the prefetch bounds how many
        now = self._clock()
        waiting, self._waiting = self._waiting, []
        timely = [delivery for delivery in waiting if delivery.deadline - now >= 0.001]
        for delivery in waiting:
            if delivery.deadline - now < 0.001:  # AMQP's shortest expiration
                self._second_tries.forget(delivery)
                self._responder.expire(delivery)
        for bundle in bundled((d.request.app_tag, d.deadline - now) for d in timely):
            self._publish(channel, bundle, [timely[number] for number in bundle.numbers])
        self._tell_idle()

    def _publish(self, channel: Channel, bundle: Bundle, deliveries: list[Delivery]) -> None:
        number = self._confirms.add(_Sent(self._clock(), bundle.partition, deliveries))
        properties = BasicProperties(
            content_type=CONTENT_TYPE,
            delivery_mode=DeliveryMode.Transient,
            expiration=None if bundle.milliseconds is None else str(bundle.milliseconds),
            type=BUNDLE_TYPE,
            message_id=str(number),
            user_id=self._users.name,
            app_id=self._worker,
        )
        body = encode_bundle([_ordered(delivery) for delivery in deliveries])
        channel.basic_publish("", QUEUES[bundle.partition], body, properties, mandatory=True)
        self._events[Event.FORWARDED] += len(deliveries)
        self._look_later()

    def _look_later(self) -> None:
        if not self._looking:
            self._looking = True
            self._loop.call_later(_LOOK_EVERY, self._look)

    def _look(self) -> None:
        """Do not wait for ever for a channel that takes messages and says nothing."""
        self._looking = False
        oldest = self._confirms.oldest
        if oldest is None:
            return
        if self._clock() - oldest.at > SILENT_AFTER:
            self._pass_on_again()
        else:
            self._look_later()

    def _pass_on_again(self) -> None:
        """Use another channel. An owner that has some of them already wastes some ids."""
        _log.info("RabbitMQ refuses requests for ordered tags: passing them on again")
        self._reopened_at = self._clock()
        unconfirmed = [each for sent in self._forget_unconfirmed() for each in sent.deliveries]
        self._waiting = unconfirmed + self._waiting
        self._channels.drop()
        self._channels.open_later(0.0)

    def _on_return(
        self, _channel: Channel, method: Basic.Return, properties: BasicProperties, _body: bytes
    ) -> None:
        # The confirmation of a message that is returned follows it.
        self._throttled.warning(
            self._clock(),
            "returned",
            "%s: the queue %s is missing; ordered tags of its partition get no ids until a worker "
            "that may declare it, or you, create it (deploy/rabbitmq/definitions.json)",
            method.reply_text,
            method.routing_key,
        )
        self._returned.add(int(properties.message_id or 0))

    def _on_confirm(self, frame: Any) -> None:
        method = frame.method
        taken = isinstance(method, Basic.Ack)
        settled = self._confirms.settle(method.delivery_tag, multiple=method.multiple)
        for number, sent in settled.items():
            refusal, again = (None, False) if taken else (_NOT_TAKEN, True)
            if number in self._returned:
                self._returned.discard(number)
                refusal, again = _NOT_ROUTED, self._may_come(sent.partition)
            elif taken:
                self._took.add(sent.partition)
                self._missing_since.pop(sent.partition, None)
            for delivery in sent.deliveries:
                if refusal is None:
                    self._second_tries.forget(delivery)
                    delivery.session.finish(delivery)
                    if delivery.trace is not None:
                        delivery.trace.end("forwarded")
                elif not (again and self._second_tries.admits(delivery)):
                    self._second_tries.forget(delivery)
                    self._events[Event.UNROUTABLE] += 1
                    self._responder.answer(delivery, refusal)
        strange = any(sent.partition not in self._took for sent in settled.values())
        if not taken and strange and self._clock() - self._reopened_at > REOPENED_AT_MOST:
            self._pass_on_again()
        self._tell_idle()

    def _may_come(self, partition: int) -> bool:
        """Whether a queue that is missing may be about to be declared: a worker that starts does.

        Where it stays missing, nobody waits for it.
        """
        now = self._clock()
        return now - self._missing_since.setdefault(partition, now) <= LONGEST

    def _forget_unconfirmed(self) -> list[_Sent]:
        self._returned.clear()
        self._took.clear()
        return self._confirms.reset()

    def _tell_idle(self) -> None:
        busy = self._confirms.oldest or self._waiting or self._second_tries
        if self._on_idle is not None and not busy:
            on_idle, self._on_idle = self._on_idle, None
            on_idle()


def _ordered(delivery: Delivery) -> OrderedRequest:
    return OrderedRequest(
        delivery.request,
        delivery.reply_to,
        delivery.correlation_id,
        delivery.user,
        None if delivery.trace is None else delivery.trace.traceparent,
    )
