"""The worker's second channel: an exclusive queue bound to `id.fleet`, with publisher confirms.

It is a channel of its own because the broker closes a channel on which something is refused, and
the one that serves requests must not suffer for it.
"""

import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Any, Protocol

from idalloc_client.amqp import (
    AMQPError,
    Backoff,
    Basic,
    BasicProperties,
    Callback,
    Channel,
    ChannelClosedByBroker,
    Confirms,
    DeliveryMode,
    MessageChannel,
    Properties,
    ReopeningChannel,
    ReplyCode,
    Timer,
)
from idalloc_schemas import CONTENT_TYPE, FLEET_EXCHANGE
from idalloc_worker.marks._numbers import HeardNumbers, SentNumbers
from idalloc_worker.rights import FleetGate

_log = logging.getLogger("idalloc.fleet")

_MESSAGE_TYPE = "id.fleet"
_EXCHANGE = FLEET_EXCHANGE.encode()


@dataclass(frozen=True, slots=True)
class _Published:
    on_confirmed: Callback
    at: float


class FleetLoop(Protocol):
    """What it needs of a link."""

    def call_later(self, delay: float, callback: Callback) -> Timer:
        """Run a callback after `delay` seconds."""

    def message_channel(self, channel: Channel) -> MessageChannel:
        """Use a further channel of the present connection."""


class FleetHandler(Protocol):
    """What the owner of the channel is told, on the link's thread."""

    def on_fleet_open(self, queue: str) -> None:
        """Speak and listen: whatever is published from now on also comes to `queue`."""

    def on_fleet_nacked(self) -> None:
        """Hear that the broker could not give a message to all; `on_fleet_lost` follows."""

    def on_fleet_lost(self) -> None:
        """Forget what was published and not confirmed; another channel will follow."""

    def on_fleet_refused(self, reason: str) -> None:
        """Do without: the broker does not let this user speak to the fleet. It is tried again."""

    def on_fleet_gap(self) -> None:
        """Hear that the broker dropped some of what others said; `on_fleet_lost` follows."""

    def on_fleet_message(self, body: bytes, *, from_fleet: bool) -> None:
        """Take a worker's message; `from_fleet` if it came through the exchange, to all."""


class FleetChannel:
    """Owned by the link's thread. One channel at a time, opened again when it is closed."""

    def __init__(
        self,
        handler: FleetHandler,
        loop: FleetLoop,
        *,
        app_id: str,
        gate: FleetGate,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._handler = handler
        self._loop = loop
        self._app_id = app_id
        self._gate = gate
        self._users = gate.users
        self._clock = clock
        self._channels = ReopeningChannel(
            loop.call_later,
            on_open=self._on_open,
            on_unopened=self._on_unopened,
            on_closed=self._on_closed,
            on_cancelled=self._on_cancelled,
        )
        self._listening = False
        self._declare_first = False
        self._queue = ""
        self._sent = SentNumbers()
        self._heard = HeardNumbers()
        self._confirms = Confirms[_Published]()
        self._retries = Backoff(0.2, 30.0)

    @property
    def connection(self) -> Any:
        """The connection that it was given; None between two of them."""
        return self._channels.connection

    @property
    def waiting_since(self) -> float:
        """When the oldest message was published that is not confirmed; `inf` if all are."""
        oldest = self._confirms.oldest
        return inf if oldest is None else oldest.at

    def connect(self, connection: Any) -> None:
        """Open a channel on a fresh connection."""
        self._declare_first = False
        # A name that nobody can guess: callers may write to any queue whose name they know. One
        # for the whole connection, as each would stay there to its end that was not consumed.
        self._queue = f"{FLEET_EXCHANGE}.{secrets.token_hex(8)}"
        self._retries.reset()
        self._channels.connect(connection)

    def works(self) -> None:
        """Hear that messages get through: the next failure is a first one."""
        self._retries.reset()

    def restart(self, reason: str) -> None:
        """Give the channel up for another one: it is open, and nothing comes of it."""
        _log.info("Joining the fleet anew: %s", reason)
        self._channels.close()

    def disconnect(self) -> None:
        """Forget the connection, which is lost, or will be given anew."""
        self._channels.disconnect()
        self._forget()

    def publish(self, body: bytes, on_confirmed: Callback) -> None:
        """Send to every worker; `on_confirmed` runs once it is in all their queues, or never."""
        if self._send(FLEET_EXCHANGE, "", body, self._sent):
            self._confirms.add(_Published(on_confirmed, self._clock()))

    def send(self, queue: str, body: bytes) -> None:
        """Send to one queue."""
        if self._send("", queue, body):
            self._confirms.count()

    # Opening

    def _on_unopened(self, error: AMQPError) -> float:
        self._handler.on_fleet_refused(str(error))
        return self._retries.next_delay()

    def _on_open(self, channel: Channel) -> None:
        channel.confirm_delivery(self._on_confirm, lambda _frame: None)
        if self._declare_first:
            self._declare_first = False
            channel.exchange_declare(FLEET_EXCHANGE, "fanout", durable=True)
        queue = self._queue
        channel.queue_declare(queue, exclusive=True, auto_delete=True)
        channel.queue_bind(queue, FLEET_EXCHANGE, "")
        # The short way past pika: callers can write here faster than pika can read.
        self._loop.message_channel(channel).consume(
            queue,
            f"{self._app_id} fleet",
            lambda _tag, _redelivered, found, body: self._on_message(channel, found, body),
            lambda: self._on_consuming(channel, queue),
            auto_ack=True,
            # On 3.x a queue's process that is restarted has lost its messages, and says no word.
            arguments={"x-cancel-on-ha-failover": True},
            tell_exchange=True,
        )

    def _on_consuming(self, channel: Channel, queue: str) -> None:
        if channel is self._channels.channel:
            self._listening = True
            self._handler.on_fleet_open(queue)

    # Closing

    def _on_cancelled(self) -> None:
        _log.warning("The fleet's queue of this worker was deleted; making another one")
        self._channels.close()

    def _on_closed(self, reason: BaseException) -> float | None:
        listening = self._listening
        self._forget()
        if not self._channels.connected:
            return None  # the link speaks
        self._users.refused(reason)
        if listening or not isinstance(reason, ChannelClosedByBroker):
            self._handler.on_fleet_lost()
        elif reason.reply_code == ReplyCode.NOT_FOUND:
            # Declared only where it is missing, as a least-privilege user may not declare.
            self._declare_first = True
        else:
            self._handler.on_fleet_refused(str(reason))
        return self._retries.next_delay()

    def _forget(self) -> None:
        self._listening = False
        self._sent = SentNumbers()
        self._heard.forget()
        self._confirms.reset()

    # Messages

    def _send(
        self, exchange: str, routing_key: str, body: bytes, numbers: SentNumbers | None = None
    ) -> bool:
        channel = self._channels.channel
        if channel is None or not channel.is_open:
            return False
        properties = BasicProperties(
            content_type=CONTENT_TYPE,
            delivery_mode=DeliveryMode.Transient,
            type=_MESSAGE_TYPE,
            message_id=None if numbers is None else numbers.next(),
            user_id=self._users.name,
            app_id=self._app_id,
        )
        channel.basic_publish(exchange, routing_key, body, properties)
        return True

    def _on_confirm(self, frame: Any) -> None:
        method = frame.method
        if isinstance(method, Basic.Nack):
            self._handler.on_fleet_nacked()
            self.restart("the broker could not give a message to all workers")
            return
        confirmed = self._confirms.settle(method.delivery_tag, multiple=method.multiple)
        for published in confirmed.values():
            published.on_confirmed()

    def _on_message(self, channel: Channel, properties: Properties, body: bytes) -> None:
        if channel is not self._channels.channel:
            return
        from_fleet = properties.exchange == _EXCHANGE
        if not self._gate.admits(properties.user_id, len(body), from_fleet=from_fleet):
            return
        if from_fleet and self._heard.shows_gap(properties.message_id):
            self._on_gap()
        try:
            self._handler.on_fleet_message(body, from_fleet=from_fleet)
        except Exception:  # noqa: BLE001  # pika would end the connection: a crash loop
            _log.exception("A message of the fleet failed")

    def _on_gap(self) -> None:
        """Join anew, and so hear from the stream, or the others, what was dropped here."""
        self._heard.forget()  # what still comes on this channel is of the same loss
        _log.warning(
            "RabbitMQ dropped messages of other workers that this one had not read in time"
        )
        self._handler.on_fleet_gap()
        # At once: an echo that is still to come does not say that everything was heard.
        self._handler.on_fleet_lost()
        self.restart("it missed what others said")
