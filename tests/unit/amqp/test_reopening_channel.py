"""A channel that is opened again, as long as its connection is the same."""

from collections.abc import Callable
from typing import Any

import pytest
from pika.exceptions import AMQPError, ChannelClosedByBroker, ChannelClosedByClient

from idalloc_client.amqp._reopening_channel import ReopeningChannel


class FakeChannel:
    """Closes as pika's does: those who want to know hear of it later."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.is_open = True
        self.closed_by_us = 0

    def add_on_close_callback(self, callback: Callable[..., None]) -> None:
        self.on_closed = callback

    def add_on_cancel_callback(self, callback: Callable[..., None]) -> None:
        self.on_cancelled = callback

    def close(self) -> None:
        self.is_open = False
        self.closed_by_us += 1

    def end(self, reason: BaseException) -> None:
        self.is_open = False
        self.on_closed(self, reason)


class FakeConnection:
    """Opens a channel when it is told to, or has none left."""

    is_open = True

    def __init__(self) -> None:
        self.asked: list[Callable[[Any], None]] = []
        self.none_left = False

    def channel(self, on_open_callback: Callable[[Any], None]) -> None:
        if self.none_left:
            raise AMQPError("no number is left")
        self.asked.append(on_open_callback)

    def open(self) -> FakeChannel:
        channel = FakeChannel(self)
        self.asked.pop(0)(channel)
        return channel


def new_connection() -> Any:
    return FakeConnection()


class Bench:
    """A channel, its user and its connection."""

    def __init__(self) -> None:
        self.later: list[tuple[float, Callable[[], None]]] = []
        self.opened: list[Any] = []
        self.ends: list[BaseException] = []
        self.delay: float | None = 2.0
        self.channels = ReopeningChannel(
            lambda delay, callback: self.later.append((delay, callback)),
            on_open=self.opened.append,
            on_unopened=lambda _error: 1.0,
            on_closed=self._on_closed,
        )
        self.connection = new_connection()
        self.channels.connect(self.connection)

    def _on_closed(self, reason: BaseException) -> float | None:
        assert self.channels.channel is None
        self.ends.append(reason)
        return self.delay

    def pass_time(self) -> float:
        """Run the one thing that was put off, and tell for how long it was."""
        ((delay, callback),) = self.later
        self.later.clear()
        callback()
        return delay


@pytest.fixture
def bench() -> Bench:
    return Bench()


REFUSED = ChannelClosedByBroker(403, "ACCESS_REFUSED")


def test_a_channel_that_was_closed_is_followed_by_another_one(bench: Bench) -> None:
    """After as many seconds as its user says."""
    first = bench.connection.open()
    assert bench.opened == [first]
    first.end(REFUSED)
    assert (bench.ends, bench.channels.channel) == ([REFUSED], None)
    assert bench.pass_time() == 2.0
    second = bench.connection.open()
    assert (bench.opened, bench.channels.channel) == ([first, second], second)


def test_none_follows_if_its_user_wants_none(bench: Bench) -> None:
    bench.delay = None
    bench.connection.open().end(REFUSED)
    assert not bench.later


def test_one_that_cannot_be_asked_for_is_tried_again(bench: Bench) -> None:
    """No number may be free until the broker confirms that a channel is closed."""
    bench.connection.open().end(REFUSED)
    bench.connection.none_left = True
    bench.pass_time()
    bench.connection.none_left = False
    assert bench.pass_time() == 1.0
    again = bench.connection.open()
    assert bench.channels.channel is again


def test_a_closed_connection_opens_none(bench: Bench) -> None:
    """What is lost is told by the link."""
    bench.connection.open().end(REFUSED)
    bench.connection.is_open = False
    bench.pass_time()
    assert (bench.connection.asked, bench.channels.connected) == ([], False)


def test_a_channel_of_an_earlier_connection_is_not_used(bench: Bench) -> None:
    """It was asked for before the connection was lost, or given anew; so was its timer."""
    bench.connection.open().end(REFUSED)
    before, bench.connection = bench.connection, new_connection()
    assert not bench.channels.disconnect()
    bench.pass_time()
    assert not before.asked
    bench.channels.connect(before)
    bench.channels.disconnect()
    bench.channels.connect(bench.connection)
    assert before.open().closed_by_us == 1
    channel = bench.connection.open()
    assert bench.channels.channel is channel


def test_there_is_one_at_a_time(bench: Bench) -> None:
    """The same connection may be given anew while a channel is being opened."""
    bench.channels.disconnect()
    bench.channels.connect(bench.connection)
    first, second = bench.connection.open(), bench.connection.open()
    assert (bench.channels.channel, second.closed_by_us) == (first, 1)


def test_what_is_given_up_is_closed_and_its_end_not_told(bench: Bench) -> None:
    channel = bench.connection.open()
    assert bench.channels.disconnect()
    assert channel.closed_by_us == 1
    channel.end(ChannelClosedByClient(0, "closed"))
    assert (bench.ends, bench.later) == ([], [])
    assert not bench.channels.disconnect()


@pytest.mark.parametrize("cancelled", [True, False])
def test_what_is_closed_for_another_one_is_told(bench: Bench, cancelled: bool) -> None:  # noqa: FBT001
    """By its user, or as the broker cancels a consumer: the next one follows its end."""
    channel = bench.connection.open()
    if cancelled:
        channel.on_cancelled(None)
        channel.on_cancelled(None)  # of another consumer, and too late
    else:
        bench.channels.close()
    assert (channel.closed_by_us, bench.ends) == (1, [])
    channel.end(ChannelClosedByClient(0, "closed"))
    assert len(bench.ends) == len(bench.later) == 1
