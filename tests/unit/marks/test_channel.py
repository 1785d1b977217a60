"""Which messages to the fleet a confirm stands for, and what a channel leaves behind."""

from collections import Counter
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from pika.exceptions import ChannelClosedByBroker, StreamLostError
from pika.spec import Basic, BasicProperties

from idalloc_client.amqp._io._channel import PikaChannel
from idalloc_worker.counters._registry import Event
from idalloc_worker.marks._channel import FleetChannel
from idalloc_worker.rights._fleet_gate import MAX_BYTES
from tests.vouched import WORKER_USER, gate


class FakeChannel:
    """Answers at once; remembers what was published."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.is_open = True
        self.published: list[bytes] = []
        self.users: list[str | None] = []
        self.numbers: list[str | None] = []
        self.consumed: list[dict[str, object]] = []

    def add_on_close_callback(self, callback: Callable[..., None]) -> None:
        self.on_closed = callback

    def add_on_cancel_callback(self, callback: Callable[..., None]) -> None:
        self.on_cancelled = callback

    def confirm_delivery(self, on_confirm: Callable[[Any], None], _callback: object) -> None:
        self.on_confirm = on_confirm

    def __getattr__(self, _name: str) -> Callable[..., None]:
        """Take whatever else is asked for."""
        return self._rpc

    def _rpc(self, *_: object, callback: Callable[[Any], None] | None = None, **__: object) -> None:
        if callback is not None:
            callback(None)

    def basic_consume(
        self,
        _queue: str,
        on_message: Callable[..., None],
        *,
        arguments: dict[str, object],
        callback: Callable[[Any], None],
        **_: object,
    ) -> None:
        self.consumed.append(arguments)
        self.on_message = on_message
        callback(None)

    def basic_publish(self, _exchange: str, _key: str, body: bytes, properties: Any) -> None:
        self.published.append(body)
        self.users.append(properties.user_id)
        self.numbers.append(properties.message_id)

    def confirm(self, number: int, *, multiple: bool = False, ack: bool = True) -> None:
        method = (Basic.Ack if ack else Basic.Nack)(number, multiple)
        self.on_confirm(SimpleNamespace(method=method))

    def close(self) -> None:
        self.is_open = False
        self.on_closed(self, StreamLostError("closed"))


class Bench:
    """A fleet's channel, with its handler and its connection."""

    is_open = True

    def __init__(self) -> None:
        self.channels: list[FakeChannel] = []
        self.later: list[Callable[[], None]] = []
        self.confirmed: list[str] = []
        self.heard: list[tuple[bytes, bool]] = []
        self.lost = self.nacked = self.gaps = 0
        self.lost_while_open = 0
        self.server_properties: dict[str, Any] = {}
        handler: Any = self
        self.counters = Counter[Event]()
        self.fleet = FleetChannel(
            handler, self, app_id="w", gate=gate(counters=self.counters), clock=lambda: 0.0
        )
        self.fleet.connect(self)

    def call_later(self, _delay: float, callback: Callable[[], None]) -> Any:
        self.later.append(callback)

    def message_channel(self, channel: Any) -> PikaChannel:
        return PikaChannel(channel)

    def channel(self, on_open_callback: Callable[[Any], None]) -> None:
        self.channels.append(FakeChannel(self))
        on_open_callback(self.channels[-1])

    def on_fleet_open(self, queue: str) -> None:
        self.queue = queue

    def on_fleet_nacked(self) -> None:
        self.nacked += 1

    def on_fleet_lost(self) -> None:
        self.lost += 1
        self.lost_while_open += self.channels[-1].is_open

    def on_fleet_gap(self) -> None:
        self.gaps += 1

    def on_fleet_message(self, body: bytes, *, from_fleet: bool) -> None:
        self.heard.append((body, from_fleet))

    def publish(self, *names: str) -> None:
        for name in names:
            self.fleet.publish(name.encode(), partial(self.confirmed.append, name))

    def deliver(
        self, exchange: str, user: str | None, body: bytes, number: str | None = None
    ) -> None:
        method = Basic.Deliver("c", 1, False, exchange, "")  # noqa: FBT003  # as pika's
        properties = BasicProperties(user_id=user, message_id=number)
        self.channels[-1].on_message(self.channels[-1], method, properties, body)

    def reopen(self) -> None:
        self.later.pop()()


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_confirm_stands_for_its_message(bench: Bench) -> None:
    """Also out of order, and with what is sent to one queue counted in."""
    bench.publish("one")
    bench.fleet.send(bench.queue, b"echo")
    bench.publish("two")
    bench.channels[0].confirm(3)
    assert bench.confirmed == ["two"]
    bench.channels[0].confirm(2)
    bench.channels[0].confirm(1)
    assert bench.confirmed == ["two", "one"]


def test_a_confirm_may_stand_for_several(bench: Bench) -> None:
    """For all up to its number, and for none beyond it."""
    bench.publish("one", "two", "three")
    bench.channels[0].confirm(2, multiple=True)
    assert bench.confirmed == ["one", "two"]


def test_a_refused_message_confirms_nothing(bench: Bench) -> None:
    """The channel is given up, and its owner told."""
    bench.publish("one")
    bench.channels[0].confirm(1, ack=False)
    assert (bench.confirmed, bench.nacked, bench.lost) == ([], 1, 1)
    assert not bench.channels[0].is_open


def test_numbers_begin_anew_with_each_channel(bench: Bench) -> None:
    """A confirm on the second one says nothing about what was published on the first."""
    bench.publish("lost")
    bench.channels[0].close()
    bench.reopen()
    bench.publish("again")
    bench.channels[1].confirm(1)
    assert bench.confirmed == ["again"]


def test_what_did_not_come_through_the_exchange_is_told_apart(bench: Bench) -> None:
    """Only workers may write to it; anybody to a queue whose name he knows."""
    for exchange in ("id.fleet", ""):
        bench.deliver(exchange, WORKER_USER, b"x")
    assert bench.heard == [(b"x", True), (b"x", False)]


@pytest.mark.parametrize("user", ["idalloc-caller", "", None])
def test_what_no_worker_sent_is_not_read(bench: Bench, user: str | None) -> None:
    """Callers may know the queue's name: Prometheus publishes it. Nor is what is too long to be."""
    bench.deliver("", user, b"x")
    bench.deliver("id.fleet", WORKER_USER, bytes(MAX_BYTES + 1))
    assert bench.heard == []
    assert (bench.counters[Event.FOREIGN_MESSAGES], bench.counters[Event.FLEET_INVALID]) == (1, 1)


def test_what_is_sent_says_who_sent_it(bench: Bench) -> None:
    """So that others can tell; the name that the broker knows is used once it has told."""
    bench.publish("one")
    bench.fleet.send(bench.queue, b"two")
    refusal = "user_id property set to 'idalloc-worker' but authenticated user was 'oauth-7'"
    bench.channels[0].on_closed(bench.channels[0], ChannelClosedByBroker(406, refusal))
    bench.reopen()
    bench.publish("three")
    users = [user for channel in bench.channels for user in channel.users]
    assert users == [WORKER_USER, WORKER_USER, "oauth-7"]


def test_a_queue_that_may_have_lost_messages_is_given_up(bench: Bench) -> None:
    """The broker says so if it is asked to; then what was published is not known to be heard."""
    channel = bench.channels[0]
    assert channel.consumed == [{"x-cancel-on-ha-failover": True}]
    bench.publish("lost")
    channel.on_cancelled(None)
    assert (channel.is_open, bench.lost) == (False, 1)
    bench.reopen()
    bench.publish("again")
    bench.channels[1].confirm(1)
    assert bench.confirmed == ["again"]


def test_a_gap_in_what_a_worker_says_is_joined_anew_for(bench: Bench) -> None:
    """The broker drops the oldest from a queue that is full: claims may be among them."""
    for number in ("x-7", "y-1", "x-8", "y-3", "x-11"):
        bench.deliver("id.fleet", WORKER_USER, b"x", number)
    assert (bench.gaps, len(bench.heard), bench.channels[0].is_open) == (1, 4, False)
    # At once: while the channel closes, an echo would say that everything was heard.
    assert bench.lost_while_open == 1
    bench.reopen()
    bench.deliver("id.fleet", WORKER_USER, b"x", "x-20")
    assert (bench.gaps, bench.channels[1].is_open) == (1, True)


def test_what_was_said_between_two_channels_is_no_gap(bench: Bench) -> None:
    """Whoever joins anew reads it in the stream: to do so once more would never end."""
    bench.deliver("id.fleet", WORKER_USER, b"x", "x-7")
    bench.channels[0].close()
    bench.reopen()
    bench.deliver("id.fleet", WORKER_USER, b"x", "x-20")
    assert (bench.gaps, bench.channels[1].is_open) == (0, True)


def test_only_what_workers_tell_all_is_followed(bench: Bench) -> None:
    """What nobody vouches for neither sets a number nor breaks one; nor what goes to one alone."""
    bench.deliver("id.fleet", WORKER_USER, b"x", "x-7")
    bench.deliver("", WORKER_USER, b"x", "x-70")
    bench.deliver("", "idalloc-caller", b"x", "x-70")
    bench.deliver("id.fleet", WORKER_USER, bytes(MAX_BYTES + 1), "x-70")
    bench.deliver("id.fleet", WORKER_USER, b"x", "x-8")
    bench.deliver("id.fleet", WORKER_USER, b"x")  # a worker of an earlier version
    assert bench.gaps == 0


def test_what_is_told_to_all_is_numbered(bench: Bench) -> None:
    """From 1 on, under another name on each channel; what goes to one queue is not."""
    bench.publish("one")
    bench.fleet.send(bench.queue, b"echo")
    bench.publish("two")
    bench.channels[0].close()
    bench.reopen()
    bench.publish("three")
    first, second = (channel.numbers for channel in bench.channels)
    assert first[1] is None
    (name, one), (same, two), (other, three) = (
        str(number).split("-") for number in (first[0], first[2], second[0])
    )
    assert ((one, two, three), name == same, name == other) == (("1", "2", "1"), True, False)
