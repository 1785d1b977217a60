"""The stream below pika: what it reads, writes and tells, on a real pair of sockets."""

import asyncio
import errno
import socket
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import uvloop
from pika.adapters.select_connection import IOLoop
from pika.adapters.utils.nbio_interface import AbstractStreamProtocol, AbstractStreamTransport
from pika.adapters.utils.selector_ioloop_adapter import SelectorIOServicesAdapter

from idalloc_client.amqp._io._asyncio_loop import AsyncioSelectorLoop
from idalloc_client.amqp._io._batched_io import _BatchingProtocol
from idalloc_client.amqp._io._batched_stream import TcpStream, TlsStream
from idalloc_client.amqp._io._epoll_loop import new_loop
from idalloc_client.amqp._io._write_batch import WriteBatch


class Services:
    """Runs callbacks when told to, and remembers what is watched."""

    def __init__(self) -> None:
        self.readers: dict[int, Callable[[], None]] = {}
        self.writers: dict[int, Callable[[], None]] = {}
        self._soon: list[Callable[[], None]] = []

    def set_reader(self, fd: int, callback: Callable[[], None]) -> None:
        self.readers[fd] = callback

    def set_writer(self, fd: int, callback: Callable[[], None]) -> None:
        self.writers[fd] = callback

    def remove_reader(self, fd: int) -> None:
        self.readers.pop(fd, None)

    def remove_writer(self, fd: int) -> None:
        self.writers.pop(fd, None)

    def add_callback_threadsafe(self, callback: Callable[[], None]) -> None:
        self._soon.append(callback)

    def turn(self) -> None:
        soon, self._soon = self._soon, []
        for callback in soon:
            callback()


class Protocol(AbstractStreamProtocol):
    def __init__(self) -> None:
        self.received: list[bytes] = []
        self.transport: Any = None
        self.lost: list[BaseException | None] = []
        self.ended = False
        self.keep_open = False
        self.on_data: Callable[[], None] = lambda: None
        self.on_lost: Callable[[], None] = lambda: None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received.append(data)
        self.on_data()

    def eof_received(self) -> bool:
        self.ended = True
        return self.keep_open

    def connection_lost(self, error: BaseException | None) -> None:
        self.lost.append(error)
        self.on_lost()


class Below(AbstractStreamTransport):
    """pika's stream with TLS."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.aborted = False

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def abort(self) -> None:
        self.aborted = True

    def get_protocol(self) -> AbstractStreamProtocol:
        raise NotImplementedError

    def get_write_buffer_size(self) -> int:
        return 0


class Bench:
    def __init__(self) -> None:
        self.services, self.protocol, self.batch = Services(), Protocol(), WriteBatch()
        self.ours, self.theirs = socket.socketpair()
        self.ours.settimeout(0)
        self.theirs.settimeout(5)
        self.fd = self.ours.fileno()
        self.stream = TcpStream(self.services, self.ours, self.protocol, self.batch)

    def readable(self) -> None:
        self.services.readers[self.fd]()

    def writable(self) -> None:
        self.services.writers[self.fd]()


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.ours.close()
    bench.theirs.close()


def test_what_is_written_in_a_turn_leaves_in_one_piece(bench: Bench) -> None:
    """Nothing is sent before the end of the turn, and then all of it at once."""
    with bench.batch:
        bench.stream.write(b"a")
        bench.stream.write(b"b")
        bench.theirs.settimeout(0)
        with pytest.raises(BlockingIOError):
            bench.theirs.recv(10)
        assert bench.stream.get_write_buffer_size() == 2
    assert bench.theirs.recv(10) == b"ab"
    assert bench.stream.get_write_buffer_size() == 0


def test_what_is_written_outside_of_a_turn_leaves_in_the_next(bench: Bench) -> None:
    """Pika's own writes, of heartbeats say, come at any time."""
    bench.stream.write(b"a")
    bench.stream.write(b"b")
    bench.services.turn()
    assert bench.theirs.recv(10) == b"ab"


def test_all_that_is_there_is_read_at_once(bench: Bench) -> None:
    """One call takes what a few hundred requests need."""
    bench.theirs.sendall(b"x" * 60_000)
    bench.readable()
    assert list(map(len, bench.protocol.received)) == [60_000]


def test_what_the_socket_does_not_take_waits_in_order(bench: Bench) -> None:
    """A peer that reads slowly gets every byte once, and in order."""
    pieces = [bytes([n]) * 300_000 for n in range(5)]
    for piece in pieces:
        with bench.batch:
            bench.stream.write(piece)
    waiting = bench.stream.get_write_buffer_size()
    assert waiting > 0
    got = b""
    while len(got) < 1_500_000:
        got += bench.theirs.recv(100_000)
        if bench.fd in bench.services.writers:
            bench.writable()
    assert got == b"".join(pieces)
    assert bench.stream.get_write_buffer_size() == 0
    assert bench.services.writers == {}


def test_a_peer_that_hangs_up(bench: Bench) -> None:
    """The protocol decides; by default the connection ends without an error of its own."""
    bench.theirs.close()
    bench.readable()
    assert bench.protocol.ended
    assert bench.protocol.lost == []  # not while it is in the middle of something
    bench.services.turn()
    assert bench.protocol.lost == [None]
    assert bench.ours.fileno() == -1


def test_a_peer_that_only_stops_talking(bench: Bench) -> None:
    """A protocol that keeps the connection can still write."""
    bench.protocol.keep_open = True
    bench.theirs.shutdown(socket.SHUT_WR)
    bench.readable()
    assert bench.services.readers == {}
    with bench.batch:
        bench.stream.write(b"bye")
    assert bench.theirs.recv(10) == b"bye"


def test_a_connection_that_breaks_while_writing(bench: Bench) -> None:
    """The protocol learns the reason, once, and what is written later is dropped."""
    bench.theirs.close()
    with bench.batch:
        bench.stream.write(b"x")
    bench.stream.write(b"y")
    bench.services.turn()
    [error] = bench.protocol.lost
    assert isinstance(error, OSError)
    assert error.errno == errno.EPIPE
    assert bench.services.readers == bench.services.writers == {}
    bench.services.turn()
    assert len(bench.protocol.lost) == 1


def test_an_abort_drops_what_was_not_sent(bench: Bench) -> None:
    """The user's wish weighs more than a failure that was not told yet."""
    bench.stream.write(b"x")
    bench.stream.abort()
    bench.stream.abort()
    bench.services.turn()
    assert bench.protocol.lost == [None]
    assert bench.theirs.recv(10) == b""
    assert bench.stream.get_write_buffer_size() == 0


def test_what_is_written_behind_the_end_is_dropped(bench: Bench) -> None:
    """A channel of a connection that is lost may still be written to."""
    bench.stream.abort()
    bench.stream.write(b"x")
    assert bench.stream.get_write_buffer_size() == 0
    bench.services.turn()
    assert bench.theirs.recv(10) == b""


def test_what_is_written_to_a_lost_connection_with_tls_is_dropped() -> None:
    """Pika's own stream below, which has ended, does not see it."""
    services, inner, below = Services(), Protocol(), Below()
    io: Any = SimpleNamespace(
        write_batch=WriteBatch(), add_callback_threadsafe=services.add_callback_threadsafe
    )
    protocol = _BatchingProtocol(inner, io)
    protocol.connection_made(below)
    assert protocol.stream is not None
    write = protocol.stream.write
    write(b"before")
    services.turn()
    protocol.connection_lost(None)
    write(b"after")
    services.turn()
    assert below.written == [b"before"]
    assert inner.lost == [None]
    assert isinstance(inner.transport, TlsStream)


def test_an_abort_with_tls_drops_what_was_not_sent() -> None:
    """And what is written later; pika's own stream below closes the connection."""
    services, below = Services(), Below()
    stream = TlsStream(services, below, Protocol(), WriteBatch())
    stream.write(b"before")
    stream.abort()
    stream.write(b"after")
    services.turn()
    assert (below.written, below.aborted) == ([], True)


def test_an_abort_after_a_failure(bench: Bench) -> None:
    """Told once, and as an abort."""
    bench.theirs.close()
    with bench.batch:
        bench.stream.write(b"x")
    bench.stream.abort()
    bench.services.turn()
    assert bench.protocol.lost == [None]


def test_a_protocol_that_fails_ends_the_connection(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """Half of what was received may be handled: there is no going on."""
    failure = RuntimeError("no")

    def fail() -> None:
        raise failure

    bench.protocol.on_data = fail
    bench.theirs.sendall(b"x")
    bench.readable()
    bench.services.turn()
    assert bench.protocol.lost == [failure]
    assert "could not be handled" in caplog.text


def test_an_abort_while_data_is_handled(bench: Bench) -> None:
    """Neither reading nor writing goes on, and the socket is closed in the next turn."""
    bench.protocol.on_data = bench.stream.abort
    bench.theirs.sendall(b"x")
    readable = bench.services.readers[bench.fd]
    readable()
    readable()  # the loop may have it in hand already
    assert bench.protocol.received == [b"x"]
    bench.services.turn()
    assert bench.protocol.lost == [None]


def test_a_false_alarm(bench: Bench) -> None:
    """A loop may say that there is something to read where there is nothing."""
    bench.readable()
    assert bench.protocol.received == []
    assert bench.protocol.lost == []


def _send_and_reset(bench: Bench) -> None:
    """Let the peer send something and reset the connection, before any of it is read."""
    with bench.batch:
        bench.stream.write(b"x")  # a peer that does not read it cannot close in peace
    bench.theirs.sendall(b"last words")
    bench.theirs.close()


def test_a_reset_behind_the_last_data(bench: Bench) -> None:
    """Both are taken in at once: there may be no second look."""
    _send_and_reset(bench)
    bench.readable()
    bench.services.turn()
    assert bench.protocol.received == [b"last words"]
    [error] = bench.protocol.lost
    assert isinstance(error, ConnectionResetError)


def test_a_reset_behind_the_last_data_on_uvloop(bench: Bench) -> None:
    """It tells of a broken descriptor once, and watches it no more."""

    async def run() -> None:
        loop: Any = AsyncioSelectorLoop(asyncio.get_running_loop())
        services = SelectorIOServicesAdapter(loop)
        ended = asyncio.Event()
        bench.protocol.on_lost = ended.set
        bench.stream = TcpStream(services, bench.ours, bench.protocol, bench.batch)
        _send_and_reset(bench)
        await asyncio.wait_for(ended.wait(), 10)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())
    assert bench.protocol.received == [b"last words"]


@pytest.mark.parametrize("loop_of", [IOLoop, new_loop])
def test_a_reset_behind_the_last_data_on_the_loop_of_a_thread(
    bench: Bench, loop_of: Callable[[], Any]
) -> None:
    """It tells of a broken descriptor until somebody has noticed."""
    loop = loop_of()
    bench.protocol.on_lost = loop.stop
    stream = (SelectorIOServicesAdapter(loop), bench.ours, bench.protocol, bench.batch)
    bench.stream = TcpStream(*stream, tells_once=False)
    _send_and_reset(bench)
    deadline = loop.call_later(10, loop.stop)
    loop.start()
    loop.remove_timeout(deadline)
    loop.close()
    assert bench.protocol.received == [b"last words"]
    [error] = bench.protocol.lost
    assert isinstance(error, ConnectionResetError)
