"""The stream of marks is read past messages that end the connection of whoever reads them."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from pika.exceptions import ChannelClosedByBroker, ChannelClosedByClient, ConnectionClosedByBroker
from pika.spec import Basic, BasicProperties

from idalloc_schemas import FLEET_EXCHANGE
from idalloc_worker.marks import _careful_stream
from idalloc_worker.marks._careful_stream import CarefulStream
from idalloc_worker.marks._marks_stream import PREFETCH
from tests.vouched import gate

POISON = ConnectionClosedByBroker(541, "INTERNAL_ERROR")
CULPRIT = b"culprit"

Callback = Callable[[], None]


class FakeChannel:
    """A channel of one connection, which the broker ends over a culprit."""

    def __init__(self, bench: "Bench", connection: Any) -> None:
        self.bench = bench
        self.connection = connection
        self.on_closed: list[Callable[..., None]] = []
        self.is_open = True
        self.credit = self.sent = self.acked = 0
        self.next = -1

    def add_on_close_callback(self, callback: Callable[..., None]) -> None:
        self.on_closed.append(callback)

    def add_on_cancel_callback(self, callback: Callable[..., None]) -> None:
        del callback

    def basic_qos(self, *, prefetch_count: int) -> None:
        self.credit = prefetch_count

    def basic_consume(
        self,
        _queue: str,
        on_message: Callable[..., None],
        *,
        arguments: dict[str, Any],
        callback: Callable[[Any], None] | None,
        **_: object,
    ) -> None:
        start = arguments["x-stream-offset"]
        stored = self.bench.stored
        self.next = {"next": len(stored), "last": len(stored) - 1}.get(start, start)
        self.on_message, self.acked = on_message, self.sent
        self.bench.consumed.append((start, self.credit))
        if callback is not None:
            self.bench.soon.append(lambda: callback(None))

    def basic_ack(self, tag: int, *, multiple: bool) -> None:
        assert multiple
        self.acked = tag

    @property
    def room(self) -> int:
        return self.credit - (self.sent - self.acked)

    def deliver(self) -> bool:
        """Send what the credit allows; over a culprit what was sent just before is lost as well."""
        stored = self.bench.stored
        if not self.is_open or not 0 <= self.next < len(stored) or self.room <= 0:
            return False
        due = stored[self.next : self.next + self.room]
        if CULPRIT in due:
            self.end(POISON)
            return True
        for body in due:
            self.sent += 1
            offset, self.next = self.next, self.next + 1
            method = Basic.Deliver("c", self.sent, False, FLEET_EXCHANGE, "")  # noqa: FBT003  # as pika's
            headers = BasicProperties(headers={"x-stream-offset": offset})
            self.on_message(self, method, headers, body)
        return True

    def end(self, reason: Exception) -> None:
        self.is_open = self.connection.is_open = False
        for callback in self.on_closed:
            callback(self, reason)
        self.bench.stream.on_lost(reason)
        if self.bench.side_open:
            self.bench.connect()

    def close(self) -> None:
        """Close it; the link opens another one."""
        self.is_open = False
        reason = ChannelClosedByClient(200, "Normal shutdown")
        for callback in self.on_closed:
            callback(self, reason)
        self.bench.stream.on_lost(reason)
        self.bench.open(self.connection)


class Bench:
    """The stream with what is stored in it, its handler, and the link beside."""

    is_open = True

    def __init__(self, *stored: bytes) -> None:
        self.stored = list(stored)
        self.soon: list[Callback] = []
        self.channels: list[FakeChannel] = []
        self.consumed: list[tuple[int | str, int]] = []
        self.heard: list[tuple[int, bytes]] = []
        self.refusals: list[str] = []
        self.side_open = False
        self.stream = CarefulStream(self, lambda *_: Any, app_id="w", gate=gate())  # type: ignore[arg-type]
        self.stream.beside = lambda **_: self
        self.stream.open(self)
        self.stream.beware()
        self.stream.open(self)

    def channel(self, on_open_callback: Callable[[Any], None]) -> None:
        """Open one on the worker's own connection: it is not used."""
        del on_open_callback

    # The link beside

    def connect(self) -> None:
        self.side_open = True
        self.open(SimpleNamespace(is_open=True, channel=self.channel))

    def open(self, connection: Any) -> None:
        self.channels.append(FakeChannel(self, connection))
        channel = self.channels[-1]
        self.soon.append(lambda: self.stream.on_ready(SimpleNamespace(pika_channel=channel)))  # type: ignore[arg-type]

    def begin_stop(self, on_stopped: Callback) -> None:
        self.side_open = False
        self.channels[-1].is_open = False
        on_stopped()

    def run(self) -> None:
        while self.soon or self.channels[-1].deliver():
            while self.soon:
                self.soon.pop(0)()

    # The handler

    def on_stream_open(self) -> None:
        self.stored.append(b"own")

    def on_stream_message(self, body: bytes, offset: int, *, from_fleet: bool) -> None:
        assert from_fleet
        self.heard.append((offset, body))

    def on_stream_refused(self, reason: str) -> None:
        self.refusals.append(reason)


def test_culprits_are_skipped_and_nothing_else() -> None:
    """What others have reserved before, between and behind them is read, each message once."""
    bench = Bench(b"0", b"1", CULPRIT, b"3", CULPRIT, CULPRIT, b"6")
    bench.run()
    assert bench.heard == [(7, b"own")]
    assert bench.consumed == [("next", PREFETCH)]
    bench.stream.read_from(0)
    bench.run()
    assert bench.heard[1:] == [(0, b"0"), (1, b"1"), (3, b"3"), (6, b"6"), (7, b"own")]
    assert not bench.refusals
    closed: list[int] = []
    bench.stream.close(lambda: closed.append(1))
    assert (bench.side_open, closed) == (False, [1])


def test_a_message_is_skipped_only_where_it_came_alone() -> None:
    """What was sent together with a culprit is lost with the connection, and read again."""
    bench = Bench(*(b"%d" % number for number in range(150)), CULPRIT)
    bench.run()
    bench.stream.read_from(0)
    bench.run()
    assert [offset for offset, _ in bench.heard[1:]] == [*range(150), 151]
    assert [credit for _, credit in bench.consumed] == [PREFETCH, PREFETCH, 1, PREFETCH]


def test_culprits_in_a_row_cost_a_connection_each() -> None:
    """And behind them many at a time are read again."""
    bench = Bench(*[CULPRIT] * 5, *(b"%d" % number for number in range(500)))
    bench.run()
    bench.stream.read_from(0)
    bench.run()
    assert [offset for offset, _ in bench.heard[1:]] == [*range(5, 506)]
    assert [credit for _, credit in bench.consumed] == [
        PREFETCH,
        PREFETCH,
        1,
        1,
        1,
        1,
        1,
        1,
        PREFETCH,
    ]


def test_a_culprit_at_the_end_delays_nothing() -> None:
    """The worker looks for a message of its own, which is sent again."""
    bench = Bench(b"0")
    while bench.soon and not bench.consumed:
        bench.soon.pop(0)()
    bench.stored.append(CULPRIT)
    bench.run()
    assert [body for _, body in bench.heard] == [b"own"]


def test_too_many_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker serves without what the broker remembers, as where there is no stream."""
    monkeypatch.setattr(_careful_stream, "_MOST_SKIPPED", 3)
    bench = Bench(*[CULPRIT] * 4)
    bench.run()
    bench.stream.read_from(0)
    bench.run()
    assert len(bench.refusals) == 1
    assert not bench.side_open


def test_without_a_further_connection_it_is_not_read() -> None:
    """A user's limit of connections may allow no other one."""
    bench = Bench(b"0")
    for _ in range(3):
        assert not bench.refusals
        bench.stream.on_lost(ConnectionClosedByBroker(530, "NOT_ALLOWED - limit"))
    assert len(bench.refusals) == 1
    assert not bench.side_open


def test_a_stream_that_is_refused_is_done_without() -> None:
    """Over a connection of its own as over the worker's."""
    bench = Bench(b"0")
    bench.run()
    channel = bench.channels[-1]
    channel.is_open = False
    for callback in channel.on_closed:
        callback(channel, ChannelClosedByBroker(403, "ACCESS_REFUSED"))
    assert len(bench.refusals) == 1
    assert not bench.side_open
