"""A store whose database is unreachable, wrong, slow or lost says so and reserves nothing twice."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from idalloc_worker._mysql_url import MySqlAddress
from idalloc_worker._segment import Segment
from idalloc_worker._store import SegmentStore
from idalloc_worker._store_errors import (
    OutcomeUnknownError,
    StoreError,
    StoreReason,
    StoreUnavailableError,
)
from tests.devstack import Database, TcpProxy
from tests.integration.stores import (
    TABLE,
    Background,
    add_tag,
    address_of,
    address_through,
    mark_of,
    opened,
    run,
    session,
    wait_until,
)

PASSWORD = "s3cret-p%40ss"


@pytest.fixture
def proxy(database: Database) -> Iterator[TcpProxy]:
    address = address_of(database)
    with TcpProxy(address.host, address.port) as running:
        yield running


def failure(call: Callable[[], object]) -> StoreUnavailableError:
    """Make the call fail and return the error, which must not hold the password."""
    with pytest.raises(StoreUnavailableError) as raised:
        call()
    error: BaseException | None = raised.value
    while error is not None:
        assert PASSWORD not in f"{error} {error!r} {vars(error)}"
        error = error.__cause__ or error.__context__
    return raised.value


def connections_of(database: Database) -> list[int]:
    """Name the sessions on the database, without the one that asks."""
    rows = database.query(
        "SELECT ID FROM information_schema.PROCESSLIST WHERE DB = %s AND ID <> CONNECTION_ID()",
        database.name,
    )
    return [int(number) for (number,) in rows]


# What the server refuses


def test_a_wrong_password_is_access_denied(database: Database) -> None:
    """A refused login is told as such, with no word of the password."""
    with opened(replace(address_of(database), password=PASSWORD)) as store:
        error = failure(lambda: store.reserve("test_business", 1))
    assert error.reason is StoreReason.ACCESS_DENIED
    assert "check user, password and grants" in str(error)


def test_a_missing_database_is_told(database: Database) -> None:
    """A database that does not exist has its own reason, and the message names the way out."""
    with opened(replace(address_of(database), database="idalloc_nowhere")) as store:
        error = failure(lambda: store.reserve("test_business", 1))
    assert error.reason is StoreReason.MISSING_DATABASE
    assert "idalloc init" in str(error)


def test_a_missing_table_is_told_and_met_anew(database: Database) -> None:
    """A table that does not exist has its own reason; once it is there, reservations succeed."""
    with opened(address_of(database)) as store:
        database.query(f"RENAME TABLE {TABLE} TO elsewhere")
        error = failure(lambda: store.reserve("test_business", 1))
        assert error.reason is StoreReason.MISSING_TABLE
        database.query(f"RENAME TABLE elsewhere TO {TABLE}")
        assert store.reserve("test_business", 1).segment.left == 0


def test_a_missing_right_is_access_denied(database: Database) -> None:
    """A user who may read but not write is refused, definitely, before anything is reserved."""
    user = database.name[-12:]
    database.query(f"CREATE USER '{user}'@'%' IDENTIFIED BY 'pw'")
    try:
        database.query(f"GRANT SELECT ON {database.name}.* TO '{user}'@'%'")
        with opened(replace(address_of(database), user=user, password="pw")) as store:
            error = failure(lambda: store.reserve("test_business", 1))
    finally:
        database.query(f"DROP USER '{user}'@'%'")
    assert (type(error), error.reason) == (StoreUnavailableError, StoreReason.ACCESS_DENIED)
    assert mark_of(database, "test_business") == 0


# What cannot be reached


def test_a_closed_port_is_unreachable(unused_port: int) -> None:
    """A server that does not run is told as unreachable, with its address."""
    address = MySqlAddress(user="u", password=PASSWORD, host="127.0.0.1", port=unused_port)
    with opened(address) as store:
        error = failure(lambda: store.reserve("order", 1))
    assert error.reason is StoreReason.UNREACHABLE
    assert f"127.0.0.1:{unused_port}/id_alloc_db" in str(error)


@pytest.mark.parametrize(
    "address",
    [
        MySqlAddress(user="u", password=PASSWORD, host="idalloc.invalid"),
        MySqlAddress(user="u", password=PASSWORD, host="x" * 70),
        MySqlAddress(user="u", password=PASSWORD, unix_socket="/nowhere/mysql.sock"),
        MySqlAddress(user="u", password=PASSWORD, ssl_ca="/nowhere/ca.pem"),
    ],
    ids=["unknown host", "no host name", "missing socket", "missing certificate"],
)
def test_an_address_that_leads_nowhere_is_unreachable(address: MySqlAddress) -> None:
    """Names, sockets and certificates that do not exist are errors of the store, not of Python."""
    with opened(address) as store:
        error = failure(lambda: store.reserve("order", 1))
    assert error.reason is StoreReason.UNREACHABLE


def test_another_protocol_is_an_error_of_the_store(proxy: TcpProxy, database: Database) -> None:
    """A server that speaks something else than MySQL is a failure like any other."""
    proxy.on_server_bytes = lambda _: b"SSH-2.0-OpenSSH_9.2p1 Debian\r\n" * 9
    with opened(address_through(proxy, database)) as store:
        error = failure(lambda: store.reserve("test_business", 1))
        assert type(error) is StoreUnavailableError
        wait_until(lambda: proxy.connections == 0)


@pytest.fixture
def unused_port() -> int:
    with closing(socket.socket()) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


# What is lost


def test_a_connection_killed_while_idle_is_replaced_unnoticed(database: Database) -> None:
    """The server may close idle connections: the next reservation opens another and succeeds."""
    with opened(address_of(database)) as store:
        store.reserve("test_business", 1)
        [number] = connections_of(database)
        database.query(f"KILL {number}")
        wait_until(lambda: connections_of(database) == [])
        assert store.reserve("test_business", 1).segment == Segment(100_000, 200_000)


def test_a_connection_reset_while_idle_is_replaced_once(
    proxy: TcpProxy, database: Database
) -> None:
    """A reset connection is replaced; if the server is gone, that is an error after one attempt."""
    with opened(address_through(proxy, database)) as store:
        store.reserve("test_business", 1)
        proxy.drop()
        store.reserve("test_business", 1)
        accepted = proxy.accepted
        proxy.refuse()
        proxy.drop()
        assert failure(lambda: store.reserve("test_business", 1)).reason in {
            StoreReason.LOST_CONNECTION,
            StoreReason.UNREACHABLE,
        }
        assert proxy.accepted == accepted + 1


def test_a_lost_answer_to_the_read_reserves_nothing(proxy: TcpProxy, database: Database) -> None:
    """A connection lost on the first statement is a definite failure."""
    proxy.lose_answer_to(b"SELECT max_id")
    with opened(address_through(proxy, database)) as store:
        error = failure(lambda: store.reserve("test_business", 1))
    assert (type(error), error.reason) == (StoreUnavailableError, StoreReason.LOST_CONNECTION)
    assert mark_of(database, "test_business") == 0


def test_a_lost_answer_to_the_reservation_costs_its_segment(
    proxy: TcpProxy, database: Database
) -> None:
    """When the database commits and its answer is lost, the ids are never used, nor asked twice."""
    with opened(address_through(proxy, database)) as store:
        store.reserve("test_business", 1)
        proxy.lose_answer_to(b"UPDATE")
        error = failure(lambda: store.reserve("test_business", 150_000))
        assert isinstance(error, OutcomeUnknownError)
        assert (error.reason, error.possibly_reserved) == (StoreReason.LOST_CONNECTION, 200_000)
        assert mark_of(database, "test_business") == 300_000
        assert store.reserve("test_business", 1).segment == Segment(300_000, 400_000)


def test_a_session_killed_while_it_reserves_has_an_unknown_outcome(database: Database) -> None:
    """KILL on the second statement leaves it open whether ids were reserved; here they were not."""
    with opened(address_of(database)) as store, session(database) as other:
        store.reserve("test_business", 1)
        [(mine,)] = run(other, "SELECT CONNECTION_ID()")
        [number] = [number for number in connections_of(database) if number != mine]
        run(other, "BEGIN")
        run(other, f"SELECT * FROM {TABLE} FOR UPDATE")
        call = Background(lambda: store.reserve("test_business", 1))
        wait_until(lambda: waits_for_a_lock(database, number))
        database.query(f"KILL {number}")
        error = failure(call.join)
        run(other, "ROLLBACK")
    assert isinstance(error, OutcomeUnknownError)
    assert error.possibly_reserved == 100_000
    assert mark_of(database, "test_business") == 100_000


def waits_for_a_lock(database: Database, number: int) -> bool:
    rows = database.query(
        "SELECT INFO FROM information_schema.PROCESSLIST WHERE ID = %s AND INFO LIKE 'UPDATE%%'",
        number,
    )
    return rows != []


# What is too slow


def test_abort_ends_a_blocked_reservation_as_unknown(proxy: TcpProxy, database: Database) -> None:
    """Aborting after the second statement was sent leaves its outcome unknown."""
    with opened(address_through(proxy, database)) as store:
        blocked = block_at(proxy, b"UPDATE")
        call = Background(lambda: store.reserve("test_business", 1))
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
        store.reserve("test_business", 1)
        blocked = block_at(proxy, b"SELECT max_id")
        call = Background(lambda: store.reserve("test_business", 1))
        wait_until(blocked.is_set)
        store.abort()
        error = failure(call.join)
        assert proxy.accepted == 1
        proxy.resume()
        assert store.reserve("test_business", 1).segment.left == 100_000
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
    """Abort a reservation again and again, as it may not have begun yet, until it ends."""
    done = threading.Event()
    errors: list[StoreError] = []

    def reserve() -> None:
        try:
            store.reserve("test_business", 1)
        except StoreError as error:
            errors.append(error)
        finally:
            done.set()

    with opened(address) as store:
        call = Background(reserve)
        if begun is not None:
            wait_until(begun.is_set)
        while not done.wait(0.05):
            store.abort()
        call.join()
    [error] = errors
    assert isinstance(error, StoreUnavailableError)
    assert not isinstance(error, OutcomeUnknownError)
    assert error.reason is StoreReason.TIMEOUT


def test_abort_between_reservations_does_nothing(proxy: TcpProxy, database: Database) -> None:
    """An abort that comes too late hits neither the connection nor the next reservation."""
    with opened(address_through(proxy, database)) as store:
        store.abort()
        store.reserve("test_business", 1)
        store.abort()
        store.reserve("test_business", 1)
        assert proxy.accepted == 1


def test_a_server_that_says_nothing_runs_into_the_timeout(
    proxy: TcpProxy, database: Database
) -> None:
    """Without any abort, a read that gets no byte ends in a timeout."""
    proxy.pause()
    with opened(address_through(proxy, database), timeout=0.2) as store:
        error = failure(lambda: store.reserve("test_business", 1))
    assert error.reason is StoreReason.TIMEOUT


def test_no_reservation_begins_after_the_deadline(database: Database) -> None:
    """If the time is up after the read, the statement that reserves is not sent."""
    add_tag(database, "order")
    clock = JumpingClock()
    with opened(address_of(database), clock=clock) as store:
        store.reserve("order", 1)
        clock.jumps = True
        error = failure(lambda: store.reserve("order", 1))
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


def test_failed_connects_are_paced(proxy: TcpProxy, database: Database) -> None:
    """After a failed connect the same error comes at once, without traffic, for a growing time."""
    now = 0.0
    proxy.refuse()
    with opened(address_through(proxy, database), clock=lambda: now, jitter=lambda: 1.0) as store:
        error = failure(lambda: store.reserve("test_business", 1))
        for wait in (0.1, 0.2, 0.4, 0.8, 1.0, 1.0):
            accepted = proxy.accepted
            now += wait - 0.01
            again = failure(lambda: store.reserve("test_business", 1))
            assert (str(again), again.reason) == (str(error), error.reason)
            assert proxy.accepted == accepted
            now += 0.02
            error = failure(lambda: store.reserve("test_business", 1))
            assert proxy.accepted == accepted + 1
        proxy.refuse(on=False)
        now += 1.01
        assert store.reserve("test_business", 1).segment.left == 0


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


def test_a_constructor_does_nothing(unused_port: int) -> None:
    """Making a store connects to nothing; only a bad table name is refused at once."""
    address = MySqlAddress(user="u", host="127.0.0.1", port=unused_port)
    SegmentStore(address, TABLE).close()
    with pytest.raises(ValueError, match="letters"):
        SegmentStore(address, "segments; DROP TABLE x")
