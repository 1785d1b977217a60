"""A store keeps to its deadline: what is blocked can be aborted, wherever it is blocked."""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from devstack import Database, TcpProxy
from idalloc_worker.engine._effects import ReservationRequest
from idalloc_worker.mysql._url import MySqlAddress
from idalloc_worker.store._store import SegmentStore
from idalloc_worker.tags._errors import OutcomeUnknownError, StoreReason, StoreUnavailableError
from tests.integration.stores import (
    THE_READ,
    THE_WRITE,
    Background,
    add_tag,
    address_of,
    address_through,
    failure,
    mark_of,
    opened,
)
from tests.waiting import wait_until


@pytest.fixture
def proxy(database: Database) -> Iterator[TcpProxy]:
    address = address_of(database)
    with TcpProxy(address.host, address.port) as running:
        yield running


def test_abort_ends_a_blocked_reservation_as_unknown(proxy: TcpProxy, database: Database) -> None:
    """Aborting after the second statement was sent leaves its outcome unknown."""
    with opened(address_through(proxy, database)) as store:
        store.reserve(ReservationRequest("test_business", 1))
        blocked = block_at(proxy, THE_WRITE)
        call = Background(lambda: store.reserve(ReservationRequest("test_business", 1)))
        wait_until(blocked.is_set)
        store.abort()
        store.abort()
        error = failure(call.join)
        proxy.resume()
    assert isinstance(error, OutcomeUnknownError)
    assert (error.reason, error.possibly_reserved) == (StoreReason.TIMEOUT, 100_000)


def test_abort_ends_a_blocked_read_with_nothing_reserved(
    proxy: TcpProxy, database: Database
) -> None:
    """Aborting in the first statement is a definite failure, and is not retried."""
    with opened(address_through(proxy, database)) as store:
        store.reserve(ReservationRequest("test_business", 1))
        blocked = block_at(proxy, THE_READ)
        call = Background(lambda: store.reserve(ReservationRequest("test_business", 1)))
        wait_until(blocked.is_set)
        store.abort()
        error = failure(call.join)
        assert proxy.accepted == 1
        proxy.resume()
        assert store.reserve(ReservationRequest("test_business", 1)).segment.left == 100_000
    assert (type(error), error.reason) == (StoreUnavailableError, StoreReason.TIMEOUT)


def test_abort_ends_a_connect_that_gets_no_answer(database: Database) -> None:
    """A server whose backlog is full answers no connection request; abort ends the wait."""
    with closing(socket.create_server(("127.0.0.1", 0), backlog=0)) as listener:
        port = int(listener.getsockname()[1])
        fillers = [socket.socket() for _ in range(4)]
        try:
            for filler in fillers:
                filler.settimeout(0)
                filler.connect_ex(("127.0.0.1", port))
            address = replace(address_of(database), host="127.0.0.1", port=port)
            assert_abort_ends(address)
        finally:
            for filler in fillers:
                filler.close()


def test_abort_ends_a_login_that_gets_no_answer(proxy: TcpProxy, database: Database) -> None:
    """A server that accepts and says nothing is ended too."""
    proxy.pause()
    assert_abort_ends(address_through(proxy, database))


def test_abort_ends_an_encrypted_wait(proxy: TcpProxy, database: Database) -> None:
    """Abort works as well where the server offers TLS, as MySQL does by default."""
    with opened(replace(address_through(proxy, database), ssl=None)) as store:
        store.reserve(ReservationRequest("test_business", 1))
        proxy.pause()
        assert_abort_ends_reservation(store)
        proxy.resume()
        assert store.reserve(ReservationRequest("test_business", 1)).segment.left == 100_000


def test_abort_ends_an_answer_that_comes_byte_by_byte(database: Database) -> None:
    """Bytes that drip in keep every read timeout from running out, but not the deadline."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        dripped = threading.Event()
        server = Background(lambda: drip(listener, dripped))
        port = int(listener.getsockname()[1])
        assert_abort_ends(replace(address_of(database), host="127.0.0.1", port=port), dripped)
        server.join()


def drip(listener: socket.socket, dripped: threading.Event) -> None:
    """Send a greeting that never ends."""
    sock, _ = listener.accept()
    with closing(sock):
        try:
            sock.sendall(b"\xff\xff\x00\x00\x0a")
            pause = threading.Event()
            for _ in range(600):
                sock.sendall(b"8")
                pause.wait(0.05)
                dripped.set()
        except OSError:
            return
    raise AssertionError("nobody hung up")


def assert_abort_ends(address: MySqlAddress, begun: threading.Event | None = None) -> None:
    with opened(address) as store:
        assert_abort_ends_reservation(store, begun)


def assert_abort_ends_reservation(
    store: SegmentStore, begun: threading.Event | None = None
) -> None:
    """Abort a reservation again and again, as it may not have begun yet, until it ends."""
    done = threading.Event()

    def reserve() -> None:
        try:
            store.reserve(ReservationRequest("test_business", 1))
        finally:
            done.set()

    call = Background(reserve)
    if begun is not None:
        wait_until(begun.is_set)
    wait_until(lambda: aborted(store, done))
    error = failure(call.join)
    assert (type(error), error.reason) == (StoreUnavailableError, StoreReason.TIMEOUT)


def aborted(store: SegmentStore, done: threading.Event) -> bool:
    store.abort()
    return done.wait(0.05)


def test_abort_between_reservations_does_nothing(proxy: TcpProxy, database: Database) -> None:
    """An abort that comes too late hits neither the connection nor the next reservation."""
    with opened(address_through(proxy, database)) as store:
        store.abort()
        store.reserve(ReservationRequest("test_business", 1))
        store.abort()
        store.reserve(ReservationRequest("test_business", 1))
        assert proxy.accepted == 1


def test_a_server_that_says_nothing_runs_into_the_timeout(
    proxy: TcpProxy, database: Database
) -> None:
    """Without any abort, a read that gets no byte ends in a timeout."""
    proxy.pause()
    with opened(address_through(proxy, database), timeout=0.2) as store:
        error = failure(lambda: store.reserve(ReservationRequest("test_business", 1)))
    assert error.reason is StoreReason.TIMEOUT


def test_no_reservation_begins_after_the_deadline(database: Database) -> None:
    """If the time is up after the read, the statement that reserves is not sent."""
    add_tag(database, "order")
    clock = JumpingClock()
    with opened(address_of(database), clock=clock) as store:
        store.reserve(ReservationRequest("order", 1))
        clock.jumps = True
        error = failure(lambda: store.reserve(ReservationRequest("order", 1)))
        assert (type(error), error.reason) == (StoreUnavailableError, StoreReason.TIMEOUT)
    assert mark_of(database, "order") == 10


class JumpingClock:
    """Stands still, or leaps an hour at every look."""

    def __init__(self) -> None:
        self.now = 0.0
        self.jumps = False

    def __call__(self) -> float:
        if self.jumps:
            self.now += 3600
        return self.now


def block_at(proxy: TcpProxy, marker: bytes) -> threading.Event:
    """Have the proxy swallow what contains the marker and pass nothing on any more."""
    blocked = threading.Event()

    def swallow(data: bytes) -> bytes | None:
        if marker not in data:
            return data
        proxy.on_client_bytes = None
        proxy.pause()
        blocked.set()
        return None

    proxy.on_client_bytes = swallow
    return blocked
