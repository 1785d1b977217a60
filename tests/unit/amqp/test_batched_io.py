"""Streams and reader together, below a protocol that stands for pika's connection."""

import contextlib
import socket
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pika.frame
import pika.spec
import pytest
from pika.adapters.utils.nbio_interface import AbstractStreamProtocol
from pika.exceptions import InvalidFrameError

from idalloc_client.amqp._io._batched_io import BatchedIO
from idalloc_client.amqp._io._epoll_loop import new_loop

HEARTBEAT = pika.frame.Heartbeat().marshal()


def delivery(number: int, body: bytes = b"x") -> bytes:
    method = pika.spec.Basic.Deliver("mine", number, False, "", "key")  # noqa: FBT003
    frames = (
        pika.frame.Method(1, method),
        pika.frame.Header(1, len(body), pika.spec.BasicProperties()),
        pika.frame.Body(1, body),
    )
    return b"".join(frame.marshal() for frame in frames)


class Protocol(AbstractStreamProtocol):
    """Counts as pika's connection does: what it sees."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.seen = b""
        self.lost: list[BaseException | None] = []
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.seen += data
        self.connection.bytes_received += len(data)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: BaseException | None) -> None:
        self.lost.append(error)


class Bench:
    """One consumer, which writes what it was given; another write follows each read."""

    def __init__(self, ours: socket.socket, theirs: socket.socket) -> None:
        self.theirs = theirs
        self.loop: Any = new_loop()
        self.doubts: list[Exception] = []
        self.failures: list[Exception] = []
        self.came: list[int] = []
        self.on_delivery: Callable[[int], None] = lambda _number: None
        connection = SimpleNamespace(
            bytes_received=0, params=SimpleNamespace(frame_max=131_072), open=True
        )
        self.connection = connection
        self.protocol = Protocol(connection)
        self.io = BatchedIO(
            self.loop,
            lambda: self.protocol.transport.write(b"|"),
            lambda _io, error: self.failures.append(error),
            lambda _io, error: self.doubts.append(error),
        )
        self.io.create_streaming_connection(lambda: self.protocol, ours, lambda _result: None)
        self.run()
        pika_channel: Any = SimpleNamespace(
            connection=connection, channel_number=1, basic_consume=lambda *_, **__: None
        )
        channel = self.io.message_channel(pika_channel)
        channel.consume("queue", "mine", self._take)

    def _take(self, number: int, *_: object) -> None:
        self.came.append(number)
        self.protocol.transport.write(b"%d" % number)
        self.on_delivery(number)

    def run(self) -> None:
        """Let what has come be handled."""
        for _ in range(3):
            self.loop.call_later(0.0, self.loop.stop)
            self.loop.start()

    def feed(self, data: bytes) -> None:
        self.theirs.sendall(data)
        self.run()

    def answered(self) -> bytes:
        """Return what has left so far."""
        with contextlib.suppress(BlockingIOError):
            return self.theirs.recv(100_000)
        return b""


@pytest.fixture
def bench() -> Iterator[Bench]:
    ours, theirs = socket.socketpair()
    ours.settimeout(0)
    theirs.settimeout(0)
    with ours, theirs:
        bench = Bench(ours, theirs)
        yield bench
        bench.io.abort()
        bench.run()
        bench.loop.close()


def test_what_one_read_leads_to_leaves_in_one_piece(bench: Bench) -> None:
    """Replies first, then what follows the read: acknowledgements, say."""
    sent: list[bytes] = []
    stream: Any = bench.protocol.transport
    stream._send = sent.append
    bench.feed(delivery(1) + delivery(2) + HEARTBEAT + delivery(3))
    assert sent == [b"123|"]
    assert bench.protocol.seen == HEARTBEAT


def test_each_byte_counts_once_and_as_it_comes(bench: Bench) -> None:
    """A broker that sends a long frame over a slow network is not silent."""
    data = delivery(1, b"x" * 5000) + HEARTBEAT + delivery(2)
    for at in range(0, len(data), 700):
        bench.feed(data[at : at + 700])
        assert bench.connection.bytes_received == min(at + 700, len(data))
    assert bench.came == [1, 2]


def test_what_a_consumer_raises_ends_the_connection_and_casts_no_doubt(bench: Bench) -> None:
    """It is no sign of another pika; what was answered before is still acknowledged."""

    def fail(number: int) -> None:
        if number == 2:
            raise TypeError("a bug")

    bench.on_delivery = fail
    bench.feed(delivery(1) + delivery(2) + delivery(3))
    assert bench.came == [1, 2]
    assert bench.answered() == b"12|"
    [error] = bench.protocol.lost
    assert isinstance(error, TypeError)
    assert bench.doubts == []


def test_what_is_no_amqp_ends_the_connection(bench: Bench) -> None:
    """Somebody else may be to blame for it: that is told."""
    bench.feed(delivery(1) + HEARTBEAT[:-1] + b"x" + delivery(2))
    assert bench.came == [1]
    [error] = bench.protocol.lost
    assert isinstance(error, InvalidFrameError)
    assert bench.doubts == [error]


def test_a_consumer_that_gives_up_the_connection(bench: Bench) -> None:
    """What was read with it is still told, as pika does; nothing leaves any more."""
    bench.on_delivery = lambda number: bench.io.abort() if number == 2 else None
    bench.feed(delivery(1) + delivery(2) + delivery(3))
    assert bench.came == [1, 2, 3]
    assert bench.answered() == b""
    assert bench.protocol.lost == [None]


def test_a_slow_reader_gets_all_in_the_end(bench: Bench) -> None:
    """However much was written at once, and after it."""
    pieces = [bytes([number]) * 1_000_000 for number in range(5)]
    for piece in pieces:
        bench.protocol.transport.write(piece)
        bench.protocol.transport.flush()
    got = b""
    for _ in range(2000):
        bench.run()
        got += bench.answered()
    assert got == b"".join(pieces)
    assert bench.protocol.transport.get_write_buffer_size() == 0
