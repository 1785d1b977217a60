"""How the stream of marks is read: from where, until when, and when it is done without."""

from collections.abc import Callable
from typing import Any

import pytest
from pika.exceptions import ChannelClosedByBroker
from pika.spec import Basic, BasicProperties

from idalloc_schemas import FLEET_EXCHANGE
from idalloc_worker.marks._marks_stream import MarksStream
from tests.vouched import gate

Callback = Callable[[], None]


class FakeChannel:
    """Answers at once; `refuses` is what the broker does not let this user do."""

    def __init__(self, connection: "Bench") -> None:
        self.connection = connection
        self.is_open = True
        self.on_closed: list[Callable[..., None]] = []
        self.asked: list[str] = []
        self.consumers: list[tuple[Callable[..., None], object]] = []

    def add_on_close_callback(self, callback: Callable[..., None]) -> None:
        self.on_closed.append(callback)

    def add_on_cancel_callback(self, callback: Callable[..., None]) -> None:
        self.on_cancelled = callback

    def basic_qos(self, *, prefetch_count: int) -> None:
        assert prefetch_count > 0

    def queue_declare(self, *_: object, **__: object) -> None:
        self._ask("declare")

    def queue_bind(self, *_: object, callback: Callable[[Any], None]) -> None:
        self._ask("bind")
        if self.is_open:
            callback(None)

    def basic_consume(
        self,
        _queue: str,
        on_message: Callable[..., None],
        *,
        arguments: dict[str, object],
        callback: Callable[[Any], None] | None,
        **_: object,
    ) -> None:
        if not self.is_open:
            return
        self._ask("consume")
        self.consumers.append((on_message, arguments["x-stream-offset"]))
        if callback is not None and self.is_open:
            callback(None)

    def basic_ack(self, tag: int, *, multiple: bool) -> None:
        assert multiple
        self.asked.append(f"ack {tag}")

    def close(self) -> None:
        self.asked.append("close")
        self.connection.is_open = not self.connection.lose_with_next_close
        self.end(ConnectionResetError())

    def end(self, reason: BaseException) -> None:
        self.is_open = False
        for callback in self.on_closed:
            callback(self, reason)

    def _ask(self, what: str) -> None:
        self.asked.append(what)
        if what in self.connection.refuses:
            self.end(ChannelClosedByBroker(403, "ACCESS_REFUSED"))

    def say(
        self,
        body: bytes,
        offset: int | None,
        *,
        consumer: int = -1,
        exchange: str = FLEET_EXCHANGE,
        tag: int = 1,
    ) -> None:
        headers = None if offset is None else {"x-stream-offset": offset}
        method = Basic.Deliver("c", tag, False, exchange, "")  # noqa: FBT003  # as pika's
        self.consumers[consumer][0](self, method, BasicProperties(headers=headers), body)


class Bench:
    """A stream, its connection, and who wants to know."""

    is_open = True
    lose_with_next_close = False

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[tuple[float, Callback]] = []
        self.refuses: set[str] = set()
        self.channels: list[FakeChannel] = []
        self.opened = 0
        self.heard: list[tuple[bytes, int, bool]] = []
        self.refusals: list[str] = []
        self.stream = MarksStream(self, self._call_later, app_id="w", gate=gate())
        self.stream.open(self)

    def _call_later(self, delay: float, callback: Callback) -> Any:
        self.timers.append((self.now + delay, callback))

    def channel(self, on_open_callback: Callable[[Any], None]) -> None:
        self.channels.append(FakeChannel(self))
        on_open_callback(self.channels[-1])

    def on_stream_open(self) -> None:
        self.opened += 1

    def on_stream_message(self, body: bytes, offset: int, *, from_fleet: bool) -> None:
        self.heard.append((body, offset, from_fleet))

    def on_stream_refused(self, reason: str) -> None:
        self.refusals.append(reason)

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        due = [timer for timer in self.timers if timer[0] <= self.now]
        self.timers = [timer for timer in self.timers if timer[0] > self.now]
        for _, callback in due:
            callback()


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_it_is_looked_at_from_its_end_and_read_from_where_one_says(bench: Bench) -> None:
    """What is on its way to the first consumer is not heard, and not rejected by pika either."""
    (channel,) = bench.channels
    assert (channel.asked, bench.opened) == (["declare", "consume", "bind"], 1)
    bench.stream.read_from(7)
    assert channel.asked[3:] == ["close"]
    channel.say(b"on its way", 89)
    channel = bench.channels[1]
    assert (channel.asked, channel.consumers[0][1]) == (["consume"], 7)
    channel.say(b"seven", 7)
    assert bench.heard == [(b"seven", 7, True)]
    assert bench.opened == 1


def test_a_stream_that_goes_down_is_read_on_from_where_it_was(bench: Bench) -> None:
    """From its end, what lies between would be taken for read."""
    bench.stream.read_from(7)
    bench.channels[1].say(b"seven", 7)
    bench.channels[1].end(ChannelClosedByBroker(404, "queue is down or inaccessible"))
    bench.pass_time(0.6)
    assert bench.channels[2].consumers[0][1] == 8
    assert (bench.opened, bench.refusals) == (1, [])


def test_nothing_is_opened_again_on_a_connection_that_ended(bench: Bench) -> None:
    """The link speaks."""
    bench.lose_with_next_close = True
    bench.stream.read_from(7)
    assert (len(bench.channels), bench.refusals) == (1, [])


def test_what_did_not_come_through_the_exchange_is_told_apart(bench: Bench) -> None:
    """Anybody may write to a queue whose name he knows."""
    bench.channels[0].say(b"forged", 7, exchange="")
    assert bench.heard == [(b"forged", 7, False)]


@pytest.mark.parametrize(
    ("refused", "opened"), [({"declare"}, 2), ({"bind"}, 3), ({"declare", "bind"}, 3)]
)
def test_a_reader_without_rights_reads_what_is_there(
    bench: Bench, refused: set[str], opened: int
) -> None:
    """A least-privilege user may not declare, and an operator has."""
    bench.stream.close()
    before = len(bench.channels)
    bench.refuses = refused
    bench.stream.open(bench)
    assert (bench.refusals, bench.opened) == ([], 2)
    assert len(bench.channels) - before == opened


def test_who_may_not_read_it_does_without(bench: Bench) -> None:
    """After all has been tried."""
    bench.stream.close()
    bench.refuses = {"declare", "bind", "consume"}
    bench.stream.open(bench)
    assert len(bench.refusals) == 1


def test_a_queue_of_another_type_is_no_stream(bench: Bench) -> None:
    """Its messages have no offsets, and would be taken out."""
    bench.channels[0].say(b"x", None)
    assert bench.refusals == ["it is no stream"]
    assert bench.heard == []
    assert not bench.channels[0].is_open


def test_a_stream_that_says_nothing_is_done_without(bench: Bench) -> None:
    """It is bound to nothing, say: not even one's own message comes."""
    bench.pass_time(2.0)
    assert len(bench.refusals) == 1


def test_one_that_speaks_is_waited_for_but_not_for_ever(bench: Bench) -> None:
    """Two seconds after each message, two minutes in all."""
    for offset in range(69):
        assert not bench.refusals
        bench.channels[0].say(b"x", offset)
        bench.pass_time(1.75)
    assert bench.refusals == ["to read it takes too long"]


def test_what_was_read_is_acknowledged(bench: Bench) -> None:
    """Each acknowledgement lets the broker send more."""
    for number in range(1, 121):
        bench.channels[0].say(b"x", number, tag=number)
    assert bench.channels[0].asked[3:] == ["ack 50", "ack 100"]


def test_a_closed_stream_says_nothing(bench: Bench) -> None:
    """What was under way is dropped, and the timers look no more."""
    bench.stream.close()
    bench.channels[0].say(b"late", 7)
    bench.pass_time(500)
    assert (bench.heard, bench.refusals) == ([], [])


def test_a_message_that_cannot_be_handled_ends_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection would end, and the next one meet it again."""

    def fail(*_: object, **__: object) -> None:
        raise ValueError

    monkeypatch.setattr(bench, "on_stream_message", fail)
    bench.channels[0].say(b"x", 7)
    assert bench.channels[0].is_open
