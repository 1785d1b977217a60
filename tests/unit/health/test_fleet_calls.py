"""Questions to the whole fleet: on a channel of their own, and only those that workers ask."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from pika.exceptions import ChannelClosedByBroker, StreamLostError

from idalloc_client.amqp._io._frames import Envelope
from idalloc_schemas import (
    FLEET_HEALTH_EXCHANGE,
    HEALTH_QUEUE,
    HEALTH_REPLY_TYPE,
    HealthCall,
    parse_fleet_message,
)
from idalloc_worker.health._fleet_calls import PATIENCE, FleetHealth
from idalloc_worker.requests._session import Delivery, Session
from tests.vouched import logged_in


class FakeChannel:
    """A channel, ours and pika's: it answers at once if the exchange is there and allowed."""

    def __init__(self, bench: "Bench") -> None:
        self.connection = self._bench = bench
        self.pika_channel = self
        self.is_open = True
        self.server_properties: dict[str, Any] = {}
        self.published: list[tuple[str, str, bytes, Any]] = []
        self.sent: list[tuple[Any, ...]] = []
        self.prefetch = 0
        self.arguments: dict[str, int] = {}

    def add_on_close_callback(self, callback: Callable[..., None]) -> None:
        self.on_closed = callback

    def add_on_cancel_callback(self, callback: Callable[..., None]) -> None:
        self.on_cancelled = callback

    def basic_qos(self, *, prefetch_count: int) -> None:
        self.prefetch = prefetch_count

    def exchange_declare(self, exchange: str, kind: str, *, durable: bool) -> None:
        assert (exchange, kind, durable) == (FLEET_HEALTH_EXCHANGE, "fanout", True)
        self._bench.missing = False

    def queue_declare(self, queue: str, *, arguments: dict[str, int], **kind: bool) -> None:
        assert kind == {"exclusive": True, "auto_delete": True}
        self.queue, self.arguments = queue, arguments

    def queue_bind(self, queue: str, exchange: str, _key: str) -> None:
        assert (queue, exchange) == (self.queue, FLEET_HEALTH_EXCHANGE)

    def basic_consume(
        self, _queue: str, on_message: Callable[..., None], *, callback: Any, **_: object
    ) -> None:
        self.on_message = on_message
        if self._bench.missing:
            self.close(ChannelClosedByBroker(404, "NOT_FOUND - no exchange"))
        elif self._bench.refused:
            self.close(ChannelClosedByBroker(403, "ACCESS_REFUSED"))
        else:
            callback(None)

    def basic_publish(self, exchange: str, key: str, body: bytes, properties: Any) -> None:
        self.published.append((exchange, key, body, properties))

    def basic_ack(self, tag: int) -> None:
        self.sent.append(("ack", tag))

    def ack(self, tag: int, *, multiple: bool) -> None:
        assert not multiple
        self.basic_ack(tag)

    def reply(self, reply_to: bytes, envelope: Envelope, number: bytes | None, body: bytes) -> None:
        self.sent.append((reply_to, number, body, envelope.properties.expiration))

    def close(self, reason: Exception | None = None) -> None:
        self.is_open = False
        self.on_closed(self, reason or StreamLostError("closed"))

    def deliver(self, body: bytes, tag: int = 1, exchange: str = FLEET_HEALTH_EXCHANGE) -> None:
        method = SimpleNamespace(delivery_tag=tag, exchange=exchange)
        self.on_message(self, method, None, body)


class Bench:
    """A worker's part in it; it is the connection, the link and whoever answers, too."""

    is_open = True

    def __init__(self, *, missing: bool = False, refused: bool = False) -> None:
        self.missing, self.refused = missing, refused
        self.channels: list[FakeChannel] = []
        self.later: list[tuple[float, Callable[[], None]]] = []
        self.asked: list[tuple[Delivery, HealthCall]] = []
        self.settled = 0
        link: Any = SimpleNamespace(
            call_later=lambda delay, callback: self.later.append((delay, callback)),
            call_soon=None,
            message_channel=lambda channel: channel,
        )
        self.health = FleetHealth(
            "w",
            link,
            me=lambda: "key",
            users=logged_in(),
            on_call=self._on_call,
            clock=lambda: 100.0,
        )
        self.health.connect(self, self._on_settled)

    def channel(self, on_open_callback: Callable[[Any], None]) -> None:
        self.channels.append(FakeChannel(self))
        on_open_callback(self.channels[-1])

    def _on_settled(self) -> None:
        self.settled += 1

    def _on_call(self, delivery: Delivery, call: HealthCall) -> None:
        self.asked.append((delivery, call))


CALL = HealthCall(worker="other", reply_to="caller", correlation_id="\xff1", user="alice")


def request(reply_to: bytes = b"caller", user: bytes | None = b"alice") -> Delivery:
    session: Any = None
    return Delivery(session, 1, HEALTH_QUEUE, reply_to, b"\xff1", redelivered=False, user=user)


def test_a_question_is_passed_on_in_the_name_of_who_asked() -> None:
    """For as long as the caller waits, and not for long."""
    bench = Bench()
    assert (bench.health.listening, bench.settled) == (True, 1)
    for patience, expiration in ((1.5, "1500"), (600.0, str(round(PATIENCE * 1000))), (0.0, "1")):
        bench.health.pass_on(request(), "order", patience)
        exchange, key, body, properties = bench.channels[0].published.pop()
        assert (exchange, key, properties.expiration) == (FLEET_HEALTH_EXCHANGE, "", expiration)
        assert parse_fleet_message(body) == HealthCall(
            worker="key", reply_to="caller", correlation_id="\xff1", app_tag="order", user="alice"
        )


def test_what_waits_in_its_queue_is_bounded() -> None:
    """In number, bytes and time; and so is what is under way."""
    (channel,) = Bench().channels
    assert channel.prefetch == 10
    assert set(channel.arguments) == {"x-max-length", "x-max-length-bytes", "x-message-ttl"}


def test_an_answer_is_acknowledged_by_itself_and_soon_forgotten() -> None:
    """It may go to a queue that nobody reads."""
    bench = Bench()
    (channel,) = bench.channels
    channel.deliver(CALL.encode(), 7)
    ((delivery, call),) = bench.asked
    assert (call.user, delivery.reply_to, delivery.deadline) == ("alice", b"caller", 102.0)
    delivery.session.reply(delivery, b"{}", HEALTH_REPLY_TYPE)
    delivery.session.finish(delivery)
    assert channel.sent == [(b"caller", b"\xff1", b"{}", b"30000"), ("ack", 7)]


@pytest.mark.parametrize(
    ("body", "exchange"),
    [
        (CALL.encode(), ""),
        (b"no json", FLEET_HEALTH_EXCHANGE),
        (b'{"type":"hello","worker":"w","reply_to":"q"}', FLEET_HEALTH_EXCHANGE),
        (b'{"type":"later"}', FLEET_HEALTH_EXCHANGE),
        (CALL.model_copy(update={"reply_to": "id.alloc"}).encode(), FLEET_HEALTH_EXCHANGE),
    ],
)
def test_what_no_worker_asks_is_dropped(body: bytes, exchange: str) -> None:
    """Anybody may write to the queue who knows its name; to the exchange only workers do."""
    bench = Bench()
    (channel,) = bench.channels
    channel.deliver(body, 3, exchange)
    assert not bench.asked
    assert channel.sent == [("ack", 3)]


def test_a_worker_of_an_earlier_version_vouches_for_nobody() -> None:
    """Its question comes through the other exchange, and there is nothing to acknowledge."""
    bench = Bench()
    bench.health.take(CALL)
    ((delivery, call),) = bench.asked
    assert call.user is None
    delivery.session.reply(delivery, b"{}", HEALTH_REPLY_TYPE)
    assert bench.channels[0].sent == [(b"caller", b"\xff1", b"{}", b"30000")]


def test_an_exchange_that_is_missing_is_declared() -> None:
    """Only then, as a user of few rights may not declare what is there."""
    bench = Bench(missing=True)
    assert bench.settled == 0
    bench.later.pop()[1]()
    assert (len(bench.channels), bench.settled, bench.health.listening) == (2, 1, True)
    assert bench.channels[0].queue == bench.channels[1].queue


def test_without_the_right_a_worker_goes_on_and_tries_again() -> None:
    bench = Bench(refused=True)
    assert (bench.settled, bench.health.listening) == (1, False)
    bench.health.pass_on(request(), None, 1.0)
    bench.health.take(CALL)
    assert not bench.asked
    bench.refused = False
    bench.later[-1][1]()
    assert (bench.settled, bench.health.listening) == (1, True)


def test_a_broker_that_says_nothing_keeps_no_worker_from_serving() -> None:
    bench = Bench()
    bench.health.disconnect()
    del bench.later[:]
    silent: Any = SimpleNamespace(is_open=True, channel=lambda **_: None)
    bench.health.connect(silent, bench._on_settled)
    assert bench.settled == 1
    bench.later[0][1]()
    assert bench.settled == 2


def test_after_a_disconnect_nothing_is_passed_on() -> None:
    bench = Bench()
    bench.health.disconnect()
    assert not bench.health.listening
    assert not bench.channels[0].is_open
    bench.health.take(CALL)
    assert not bench.asked


def test_a_question_that_fails_is_done_with() -> None:
    """An error that reached pika would end the connection."""
    bench = Bench()
    bench.asked = None  # type: ignore[assignment]
    bench.channels[0].deliver(CALL.encode(), 5)
    assert bench.channels[0].sent == [("ack", 5)]


def test_other_replies_are_kept_for_as_long_as_their_queue_keeps_them() -> None:
    """Ids are of use later too."""
    session = Session(FakeChannel(Bench()), "w", lambda _: None, lambda _: None, users=logged_in())  # type: ignore[arg-type]
    assert session._new_envelope("id.alloc.reply").properties.expiration is None
