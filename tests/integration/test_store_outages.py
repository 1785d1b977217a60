"""A store outlives what operators do to a server: restarts, demotion to read-only, and back."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from devstack import Database, PrivateMySql, private_mysql, scratch_database
from idalloc_worker.engine._effects import ReservationRequest
from idalloc_worker.tags._errors import StoreReason, StoreUnavailableError
from idalloc_worker.tags._segment import Segment
from tests.integration.stores import address_of, mark_of, opened
from tests.waiting import wait_until

USER = "plain_user"


@pytest.fixture(scope="module")
def server() -> Iterator[PrivateMySql]:
    """Give a server of this module's own, because it is stopped and made read-only."""
    with private_mysql() as running:
        yield running


@pytest.fixture
def own_database(server: PrivateMySql) -> Iterator[Database]:
    with scratch_database(server.url) as fresh:
        fresh.query(f"CREATE USER '{USER}'@'%' IDENTIFIED BY 'pw'")
        fresh.query(f"GRANT SELECT, UPDATE ON {fresh.name}.* TO '{USER}'@'%'")
        yield fresh
        fresh.query(f"DROP USER '{USER}'@'%'")


def test_a_restart_is_not_noticed(server: PrivateMySql, own_database: Database) -> None:
    """After a restart of the server the next reservation succeeds at the first attempt."""
    with opened(address_of(own_database)) as store:
        store.reserve(ReservationRequest("test_business", 1))
        server.stop()
        server.start()
        assert store.reserve(ReservationRequest("test_business", 1)).segment == Segment(
            100_000, 200_000
        )


def test_a_stopped_server_is_unreachable_until_it_is_back(
    server: PrivateMySql, own_database: Database
) -> None:
    """While the server is down the store says so, and it recovers by itself."""
    now = 0.0
    with opened(address_of(own_database), clock=lambda: now) as store:
        store.reserve(ReservationRequest("test_business", 1))
        server.stop()
        try:
            with pytest.raises(StoreUnavailableError) as raised:
                store.reserve(ReservationRequest("test_business", 1))
            assert raised.value.reason is StoreReason.UNREACHABLE
        finally:
            server.start()
        now += 1.0
        assert store.reserve(ReservationRequest("test_business", 1)).segment == Segment(
            100_000, 200_000
        )


def test_a_read_only_primary_is_told_and_left(own_database: Database) -> None:
    """The connection to a demoted primary is closed, so that the next one may go elsewhere."""
    plain = replace(address_of(own_database), user=USER, password="pw")
    with opened(plain) as store:
        store.reserve(ReservationRequest("test_business", 1))
        own_database.query("SET GLOBAL read_only = ON")
        try:
            with pytest.raises(StoreUnavailableError) as raised:
                store.reserve(ReservationRequest("test_business", 1))
            wait_until(lambda: sessions_of(own_database, USER) == 0)
        finally:
            own_database.query("SET GLOBAL read_only = OFF")
        assert raised.value.reason is StoreReason.READ_ONLY
        assert type(raised.value) is StoreUnavailableError
        assert mark_of(own_database, "test_business") == 100_000
        assert store.reserve(ReservationRequest("test_business", 1)).segment == Segment(
            100_000, 200_000
        )


def test_a_unix_socket_serves_as_well(server: PrivateMySql, own_database: Database) -> None:
    """A local server can be reached through its socket."""
    [(path,)] = own_database.query("SELECT CONCAT(@@datadir, '/', @@socket)")
    address = replace(address_of(own_database), host="localhost", unix_socket=path)
    with opened(address) as store:
        assert store.reserve(ReservationRequest("test_business", 1)).segment == Segment(0, 100_000)


def sessions_of(database: Database, user: str) -> int:
    [(count,)] = database.query(
        "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER = %s", user
    )
    return int(count)
