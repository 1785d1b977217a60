"""Questions about the health of the whole fleet: one worker passes them on, each one answers.

They have an exchange, a channel and a queue of their own, so that no claim waits behind them. The
queue holds few, and not for long, and so does what is being answered.
"""

import logging
import secrets
from collections.abc import Callable
from typing import Any, Final

from idalloc_client.amqp import (
    Backoff,
    Basic,
    BasicProperties,
    Callback,
    Channel,
    ChannelClosedByBroker,
    Link,
    ReopeningChannel,
    ReplyCode,
)
from idalloc_schemas import (
    CONTENT_TYPE,
    FLEET_HEALTH_EXCHANGE,
    HEALTH_QUEUE,
    HealthCall,
    InvalidMessageError,
    parse_fleet_message,
)
from idalloc_worker.requests import Delivery, Session
from idalloc_worker.rights import FleetUsers

_log = logging.getLogger("idalloc.fleet")

PATIENCE: Final = 2.0
"""Seconds that a question may wait, about as long as callers do."""

_PREFETCH: Final = 10
QUEUE_ARGUMENTS: Final = {
    "x-max-length": 100,
    "x-max-length-bytes": 1_000_000,
    "x-message-ttl": round(PATIENCE * 1000),
}
"""It is as short-lived as its name. A policy with other limits may only lower these."""

_SETTLE_LONGEST: Final = 2.0  # seconds after which a worker goes on without it
_NO_TAG: Final = 0
_MESSAGE_TYPE: Final = "id.fleet.health"


class CallSession(Session):
    """Acknowledges each call by itself: there are few. One that came another way has no tag."""

    def finish(self, delivery: Delivery) -> None:
        """Acknowledge at once."""
        if not delivery.finished:
            delivery.finished = True
            if delivery.tag != _NO_TAG and self.usable:
                self._channel.ack(delivery.tag, multiple=False)

    def _reject(self, delivery: Delivery, *, requeue: bool) -> None:
        del requeue  # nobody else can answer for this worker
        self.finish(delivery)


class FleetHealth:
    """Owned by the link's thread. `on_call` is given what this worker is to answer.

    `me` names this life of the process.
    """

    def __init__(  # noqa: PLR0913  # its surroundings
        self,
        worker: str,
        link: Link,
        *,
        me: Callable[[], str],
        users: FleetUsers,
        on_call: Callable[[Delivery, HealthCall], None],
        clock: Callable[[], float],
    ) -> None:
        self._worker = worker
        self._link = link
        self._me = me
        self._users = users
        self._on_call = on_call
        self._clock = clock
        self._channels = ReopeningChannel(
            link.call_later,
            on_open=self._on_open,
            on_unopened=lambda error: self._do_without(str(error)),
            on_closed=self._on_closed,
        )
        self._session: CallSession | None = None
        self._declare_first = False
        self._queue = ""
        self._on_settled: Callback | None = None
        self._retries = Backoff(0.2, 30.0)

    @property
    def listening(self) -> bool:
        """Whether what is passed on also comes here."""
        return self._session is not None and self._session.usable

    def connect(self, connection: Any, on_settled: Callback) -> None:
        """Begin on a fresh connection; `on_settled` once it listens, or cannot."""
        self._declare_first = False
        # A name that nobody can guess: callers may write to any queue whose name they know.
        self._queue = f"{FLEET_HEALTH_EXCHANGE}.{secrets.token_hex(8)}"
        self._on_settled = on_settled
        self._retries.reset()
        self._link.call_later(_SETTLE_LONGEST, lambda: self._settled(on_settled))
        self._channels.connect(connection)

    def disconnect(self) -> None:
        """Forget the connection, which is lost, or will be given anew."""
        self._session = self._on_settled = None
        self._channels.disconnect()

    def pass_on(self, delivery: Delivery, app_tag: str | None, patience: float) -> None:
        """Ask every worker, this one included; nobody answers after `patience` seconds."""
        channel, reply_to = self._channels.channel, delivery.reply_to
        if channel is None or not self.listening or reply_to is None:
            return
        number = delivery.correlation_id
        call = HealthCall(
            worker=self._me(),
            reply_to=_text(reply_to),
            correlation_id=None if number is None else _text(number),
            app_tag=app_tag,
            user=delivery.user_name,
        )
        properties = BasicProperties(
            content_type=CONTENT_TYPE,
            delivery_mode=1,
            expiration=str(max(round(min(patience, PATIENCE) * 1000), 1)),
            type=_MESSAGE_TYPE,
            app_id=self._worker,
        )
        channel.basic_publish(FLEET_HEALTH_EXCHANGE, "", call.encode(), properties)

    def take(self, call: HealthCall) -> None:
        """Take a call of a worker of an earlier version: through `id.fleet`, and for nobody."""
        self._take(call.model_copy(update={"user": None}), _NO_TAG)

    def _take(self, call: HealthCall, tag: int) -> None:
        session = self._session
        if session is None:
            return
        number = call.correlation_id
        delivery = Delivery(
            session,
            tag,
            HEALTH_QUEUE,
            _bytes(call.reply_to),
            None if number is None else _bytes(number),
            redelivered=False,
            deadline=self._clock() + PATIENCE,
        )
        try:
            if delivery.answerable:
                self._on_call(delivery, call)
            else:
                session.finish(delivery)
        except Exception:  # noqa: BLE001  # pika would end the connection: a crash loop
            _log.exception("A question to the whole fleet failed")
            session.finish(delivery)

    # The channel

    def _on_open(self, channel: Channel) -> None:
        channel.basic_qos(prefetch_count=_PREFETCH)
        if self._declare_first:
            channel.exchange_declare(FLEET_HEALTH_EXCHANGE, "fanout", durable=True)
        queue = self._queue
        channel.queue_declare(queue, exclusive=True, auto_delete=True, arguments=QUEUE_ARGUMENTS)
        channel.queue_bind(queue, FLEET_HEALTH_EXCHANGE, "")
        channel.basic_consume(
            queue,
            self._on_message,
            consumer_tag=f"{self._worker} fleet health",
            callback=lambda _frame: self._on_consuming(channel),
        )

    def _on_consuming(self, channel: Channel) -> None:
        if channel is self._channels.channel:
            self._session = CallSession(
                self._link.message_channel(channel),
                self._worker,
                self._link.call_soon,
                _not_measured,
                users=self._users,
            )
            self._retries.reset()
            self._settled(self._on_settled)

    def _on_closed(self, reason: BaseException) -> float | None:
        self._session = None
        self._users.refused(reason)
        if not self._channels.connected:
            return None  # the link speaks
        code = reason.reply_code if isinstance(reason, ChannelClosedByBroker) else None
        # Declared only where it is missing, as a least-privilege user may not declare.
        self._declare_first = code == ReplyCode.NOT_FOUND and not self._declare_first
        return 0.0 if self._declare_first else self._do_without(str(reason))

    def _do_without(self, reason: str) -> float:
        """Go on without it; returns after how many seconds to try again."""
        _log.info("This worker hears no questions to the whole fleet: %s", reason)
        self._settled(self._on_settled)
        return self._retries.next_delay()

    def _settled(self, on_settled: Callback | None) -> None:
        if on_settled is not None and self._on_settled is on_settled:
            self._on_settled = None
            on_settled()

    # Messages

    def _on_message(
        self, channel: Channel, method: Basic.Deliver, _properties: BasicProperties, body: bytes
    ) -> None:
        if channel is not self._channels.channel:
            return
        tag: Any = method.delivery_tag
        call = _read(method, body)
        if call is None:
            channel.basic_ack(tag)
        else:
            self._take(call, tag)


def _read(method: Basic.Deliver, body: bytes) -> HealthCall | None:
    """Read what a worker asks: only workers write to the exchange, anybody may to the queue."""
    if method.exchange != FLEET_HEALTH_EXCHANGE:
        return None
    try:
        message = parse_fleet_message(body)
    except InvalidMessageError:
        return None
    return message if isinstance(message, HealthCall) else None


def _text(value: bytes) -> str:
    return value.decode("latin-1")  # bytes of any kind as JSON text, and back


def _bytes(value: str) -> bytes:
    return value.encode("latin-1")


def _not_measured(_since: list[float]) -> None:
    """Take note that replies left: only those to requests for ids are measured."""
