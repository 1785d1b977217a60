"""A store whose database is unreachable, wrong, slow or lost says so and reserves nothing twice."""

import socket
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from devstack import Database, TcpProxy
from idalloc_worker.engine._effects import ReservationRequest
from idalloc_worker.mysql._host_choice import MySqlHosts
from idalloc_worker.mysql._url import MySqlAddress
from idalloc_worker.store._store import SegmentStore
from idalloc_worker.tags._errors import OutcomeUnknownError, StoreReason, StoreUnavailableError
from idalloc_worker.tags._segment import Segment
from tests.integration.stores import (
    PASSWORD,
    TABLE,
    THE_READ,
    THE_WRITE,
    Background,
    address_of,
    address_through,
    failure,
    mark_of,
    opened,
    run,
    session,
)
from tests.waiting import wait_until


@pytest.fixture
def proxy(database: Database) -> Iterator[TcpProxy]:
    address = address_of(database)
    with TcpProxy(address.host, address.port) as running:
        yield running


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
        error = failure(lambda: store.reserve(ReservationRequest("test_business", 1)))
    assert error.reason is StoreReason.ACCESS_DENIED
    assert "check user, password and grants" in str(error)


def test_a_missing_database_is_told(database: Database) -> None:
    """A database that does not exist has its own reason, and the message names the way out."""
    with opened(replace(address_of(database), database="idalloc_nowhere")) as store:
        error = failure(lambda: store.reserve(ReservationRequest("test_business", 1)))
    assert error.reason is StoreReason.MISSING_DATABASE
    assert "idalloc init" in str(error)


def test_a_missing_table_is_told_and_met_anew(database: Database) -> None:
    """A table that does not exist has its own reason; once it is there, reservations succeed."""
    with opened(address_of(database)) as store:
        database.query(f"RENAME TABLE {TABLE} TO elsewhere")
        error = failure(lambda: store.reserve(ReservationRequest("test_business", 1)))
        assert error.reason is StoreReason.MISSING_TABLE
        database.query(f"RENAME TABLE elsewhere TO {TABLE}")
        assert store.reserve(ReservationRequest("test_business", 1)).segment.left == 0


def test_a_missing_right_is_access_denied(database: Database) -> None:
    """A user who may read but not write is refused, definitely, before anything is reserved."""
    user = database.name[-12:]
    database.query(f"CREATE USER '{user}'@'%' IDENTIFIED BY 'pw'")
    try:
        database.query(f"GRANT SELECT ON {database.name}.* TO '{user}'@'%'")
        with opened(replace(address_of(database), user=user, password="pw")) as store:
            error = failure(lambda: store.reserve(ReservationRequest("test_business", 1)))
    finally:
        database.query(f"DROP USER '{user}'@'%'")
    assert (type(error), error.reason) == (StoreUnavailableError, StoreReason.ACCESS_DENIED)
    assert mark_of(database, "test_business") == 0


# What cannot be reached


def test_a_closed_port_is_unreachable(unused_port: int) -> None:
    """A server that does not run is told as unreachable, with its address."""
    address = MySqlAddress(user="u", password=PASSWORD, host="127.0.0.1", port=unused_port)
    with opened(address) as store:
        error = failure(lambda: store.reserve(ReservationRequest("order", 1)))
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
        error = failure(lambda: store.reserve(ReservationRequest("order", 1)))
    assert error.reason is StoreReason.UNREACHABLE


def test_another_protocol_is_an_error_of_the_store(proxy: TcpProxy, database: Database) -> None:
    """A server that speaks something else than MySQL is a failure like any other."""
    proxy.on_server_bytes = lambda _: b"SSH-2.0-OpenSSH_9.2p1 Debian\r\n" * 9
    with opened(address_through(proxy, database)) as store:
        error = failure(lambda: store.reserve(ReservationRequest("test_business", 1)))
        assert type(error) is StoreUnavailableError
        wait_until(lambda: proxy.connections == 0)


@pytest.fixture
def unused_port() -> int:
    with closing(socket.socket()) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def test_failed_connects_are_paced(proxy: TcpProxy, database: Database) -> None:
    """After a failed connect the same error comes at once, without traffic, for a growing time."""
    now = 0.0
    proxy.refuse()
    with opened(address_through(proxy, database), clock=lambda: now, jitter=lambda: 1.0) as store:
        error = failure(lambda: store.reserve(ReservationRequest("test_business", 1)))
        for wait in (0.1, 0.2, 0.4, 0.8, 1.0, 1.0):
            accepted = proxy.accepted
            now += wait - 0.01
            again = failure(lambda: store.reserve(ReservationRequest("test_business", 1)))
            assert (str(again), again.reason) == (str(error), error.reason)
            assert proxy.accepted == accepted
            now += 0.02
            error = failure(lambda: store.reserve(ReservationRequest("test_business", 1)))
            assert proxy.accepted == accepted + 1
        proxy.refuse(on=False)
        now += 1.01
        assert store.reserve(ReservationRequest("test_business", 1)).segment.left == 0


# What is lost


def test_a_connection_killed_while_idle_is_replaced_unnoticed(database: Database) -> None:
    """The server may close idle connections: the next reservation opens another and succeeds."""
    with opened(address_of(database)) as store:
        store.reserve(ReservationRequest("test_business", 1))
        [number] = connections_of(database)
        database.query(f"KILL {number}")
        wait_until(lambda: connections_of(database) == [])
        assert store.reserve(ReservationRequest("test_business", 1)).segment == Segment(
            100_000, 200_000
        )


def test_a_connection_reset_while_idle_is_replaced_once(
    proxy: TcpProxy, database: Database
) -> None:
    """A reset connection is replaced; if the server is gone, that is an error after one attempt."""
    with opened(address_through(proxy, database)) as store:
        store.reserve(ReservationRequest("test_business", 1))
        proxy.drop()
        store.reserve(ReservationRequest("test_business", 1))
        accepted = proxy.accepted
        proxy.refuse()
        proxy.drop()
        assert failure(lambda: store.reserve(ReservationRequest("test_business", 1))).reason in {
            StoreReason.LOST_CONNECTION,
            StoreReason.UNREACHABLE,
        }
        assert proxy.accepted == accepted + 1


def test_a_lost_answer_to_the_read_reserves_nothing(proxy: TcpProxy, database: Database) -> None:
    """A connection lost on the first statement is a definite failure."""
    proxy.lose_answer_to(THE_READ)
    with opened(address_through(proxy, database)) as store:
        error = failure(lambda: store.reserve(ReservationRequest("test_business", 1)))
    assert (type(error), error.reason) == (StoreUnavailableError, StoreReason.LOST_CONNECTION)
    assert mark_of(database, "test_business") == 0


def test_a_lost_answer_to_the_reservation_costs_its_segment(
    proxy: TcpProxy, database: Database
) -> None:
    """When the database commits and its answer is lost, the ids are never used, nor asked twice."""
    with opened(address_through(proxy, database)) as store:
        store.reserve(ReservationRequest("test_business", 1))
        proxy.lose_answer_to(THE_WRITE)
        error = failure(lambda: store.reserve(ReservationRequest("test_business", 150_000)))
        assert isinstance(error, OutcomeUnknownError)
        assert (error.reason, error.possibly_reserved) == (StoreReason.LOST_CONNECTION, 200_000)
        assert mark_of(database, "test_business") == 300_000
        assert store.reserve(ReservationRequest("test_business", 1)).segment == Segment(
            300_000, 400_000
        )


def test_a_session_killed_while_it_reserves_has_an_unknown_outcome(database: Database) -> None:
    """KILL on the second statement leaves it open whether ids were reserved; here they were not."""
    with opened(address_of(database)) as store, session(database) as other:
        store.reserve(ReservationRequest("test_business", 1))
        [(mine,)] = run(other, "SELECT CONNECTION_ID()")
        [number] = [number for number in connections_of(database) if number != mine]
        run(other, "BEGIN")
        run(other, f"SELECT * FROM {TABLE} FOR UPDATE")
        call = Background(lambda: store.reserve(ReservationRequest("test_business", 1)))
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


def test_a_constructor_does_nothing(unused_port: int) -> None:
    """Making a store connects to nothing; only a bad table name is refused at once."""
    hosts = MySqlHosts(MySqlAddress(user="u", host="127.0.0.1", port=unused_port))
    SegmentStore(hosts, TABLE).close()
    with pytest.raises(ValueError, match="letters"):
        SegmentStore(hosts, "segments; DROP TABLE x")
