"""A store with several hosts reserves at one that takes writes, and leaves one that does not."""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from devstack import (
    Database,
    ReplicatedPair,
    TcpProxy,
    replicated_pair,
    scratch_database,
    set_read_only,
)
from idalloc_worker.engine._effects import ReservationRequest
from idalloc_worker.mysql._host_choice import MySqlHosts
from idalloc_worker.mysql._url import MySqlAddress
from idalloc_worker.store._admin_session import AdminSession
from idalloc_worker.tags._errors import OutcomeUnknownError, StoreReason, StoreUnavailableError
from idalloc_worker.tags._segment import Segment
from tests.integration.stores import (
    PASSWORD,
    THE_WRITE,
    Background,
    address_of,
    address_through,
    failure,
    mark_of,
    opened,
    several,
)
from tests.waiting import wait_until

USER = "plain_user"

ONE = ReservationRequest("test_business", 1)


@pytest.fixture
def proxies(database: Database) -> Iterator[tuple[TcpProxy, TcpProxy]]:
    """Give two ways to one server, which the store takes for two hosts."""
    address = address_of(database)
    with (
        TcpProxy(address.host, address.port) as first,
        TcpProxy(address.host, address.port) as second,
    ):
        yield first, second


@pytest.fixture
def both(proxies: tuple[TcpProxy, TcpProxy], database: Database) -> MySqlAddress:
    return several(*(address_through(proxy, database) for proxy in proxies))


# Hosts that cannot be reached


def test_the_first_host_is_used_while_it_works(
    proxies: tuple[TcpProxy, TcpProxy], both: MySqlAddress
) -> None:
    """The second one gets no connection at all."""
    with opened(both) as store:
        store.reserve(ONE)
        proxies[0].drop()
        store.reserve(ONE)
    assert (proxies[0].accepted, proxies[1].accepted) == (2, 0)


def test_a_host_that_is_down_is_passed_over_in_the_same_reservation(
    proxies: tuple[TcpProxy, TcpProxy], both: MySqlAddress, caplog: pytest.LogCaptureFixture
) -> None:
    """One reservation finds the host that works, and the log says why it is not the first one."""
    proxies[0].refuse()
    with opened(both) as store:
        assert store.reserve(ONE).segment == Segment(0, 100_000)
    [record] = caplog.records
    told = record.getMessage()
    assert f"at 127.0.0.1:{proxies[1].port}/" in told
    assert f"127.0.0.1:{proxies[0].port}/" in told


def test_a_host_lost_while_serving_is_left_at_once(
    proxies: tuple[TcpProxy, TcpProxy], both: MySqlAddress
) -> None:
    """The next reservation notices the loss and goes on at the other host."""
    with opened(both) as store:
        store.reserve(ONE)
        proxies[0].refuse()
        proxies[0].drop()
        assert store.reserve(ONE).segment == Segment(100_000, 200_000)
    assert proxies[1].accepted == 1


def test_a_host_that_comes_back_is_used_when_the_other_fails_and_not_before(
    proxies: tuple[TcpProxy, TcpProxy], both: MySqlAddress
) -> None:
    """Two hosts that work never take turns: each move needs a failure."""
    now = 0.0
    proxies[0].refuse()
    with opened(both, clock=lambda: now) as store:
        store.reserve(ONE)
        proxies[0].refuse(on=False)
        now += 3600
        accepted = proxies[0].accepted
        proxies[1].drop()
        store.reserve(ONE)
        assert proxies[0].accepted == accepted
        proxies[1].refuse()
        proxies[1].drop()
        store.reserve(ONE)
        assert proxies[0].accepted == accepted + 1


def test_a_host_that_says_nothing_leaves_time_for_the_next(
    database: Database, proxies: tuple[TcpProxy, TcpProxy]
) -> None:
    """A black hole takes its share of the time limit and no more."""
    with closing(socket.create_server(("127.0.0.1", 0))) as hole:
        address = address_through(proxies[0], database)
        silent = replace(address, port=hole.getsockname()[1])
        with opened(several(silent, address), timeout=10.0) as store:
            assert store.reserve(ONE).segment == Segment(0, 100_000)


def test_a_host_that_falls_silent_while_serving_is_left(
    proxies: tuple[TcpProxy, TcpProxy], both: MySqlAddress
) -> None:
    """The reservation that it leaves without an answer fails; the next one goes elsewhere."""
    with opened(both, timeout=5.0) as store:
        store.reserve(ONE)
        proxies[0].pause()
        error = failure(lambda: store.reserve(ONE))
        assert (type(error), error.reason) == (StoreUnavailableError, StoreReason.TIMEOUT)
        assert store.reserve(ONE).segment == Segment(100_000, 200_000)
    assert proxies[1].accepted == 1


def test_time_that_is_up_is_no_fault_of_a_host(
    proxies: tuple[TcpProxy, TcpProxy], both: MySqlAddress
) -> None:
    """A reservation without time left tries no host, and none has to rest for it."""
    hosts = MySqlHosts(both)
    with opened(hosts, timeout=0.0) as hurried:
        error = failure(lambda: hurried.reserve(ONE))
        assert error.reason is StoreReason.TIMEOUT
    assert [proxy.accepted for proxy in proxies] == [0, 0]
    with opened(hosts) as store:
        assert store.reserve(ONE).segment == Segment(0, 100_000)


def test_a_host_that_drips_leaves_time_for_the_next(
    database: Database, proxies: tuple[TcpProxy, TcpProxy]
) -> None:
    """Bytes that keep each read alive do not keep the share of the time alive."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        server = Background(lambda: drip(listener))
        address = address_through(proxies[0], database)
        dripping = replace(address, port=listener.getsockname()[1])
        with opened(several(dripping, address), timeout=10.0) as store:
            assert store.reserve(ONE).segment == Segment(0, 100_000)
        server.join()


def drip(listener: socket.socket) -> None:
    """Send a greeting that never ends until the other side hangs up."""
    sock, _ = listener.accept()
    pause = threading.Event()
    with closing(sock):
        try:
            sock.sendall(b"\xff\xff\x00\x00\x0a")
            for _ in range(600):
                sock.sendall(b"8")
                pause.wait(0.05)
        except OSError:
            return
    raise AssertionError("nobody hung up")


def test_abort_ends_the_search_for_a_host(
    proxies: tuple[TcpProxy, TcpProxy], both: MySqlAddress
) -> None:
    """An aborted reservation does not go on to the next host."""
    proxies[0].pause()
    with opened(both) as store:
        store.arm()
        call = Background(lambda: store.reserve(ONE))
        wait_until(lambda: proxies[0].accepted == 1)
        store.abort()
        error = failure(call.join)
    assert (type(error), error.reason) == (StoreUnavailableError, StoreReason.TIMEOUT)
    assert proxies[1].accepted == 0


def test_when_no_host_works_each_is_named(
    proxies: tuple[TcpProxy, TcpProxy], both: MySqlAddress
) -> None:
    """The error says what is wrong with which host; soon after it comes again without traffic."""
    now = 0.0
    for proxy in proxies:
        proxy.refuse()
    with opened(replace(both, password=PASSWORD), clock=lambda: now) as store:
        error = failure(lambda: store.reserve(ONE))
        assert all(f"127.0.0.1:{proxy.port}/" in str(error) for proxy in proxies)
        again = failure(lambda: store.reserve(ONE))
        assert (str(again), again.reason) == (str(error), error.reason)
        assert [proxy.accepted for proxy in proxies] == [1, 1]
        now += 1.0
        failure(lambda: store.reserve(ONE))
        assert [proxy.accepted for proxy in proxies] == [2, 2]


def test_a_lost_answer_costs_its_segment_also_when_the_host_changes(
    proxies: tuple[TcpProxy, TcpProxy], both: MySqlAddress, database: Database
) -> None:
    """What the old host may have committed is counted as lost, and nothing of it is used."""
    with opened(both) as store:
        store.reserve(ONE)
        proxies[0].lose_answer_to(THE_WRITE)
        error = failure(lambda: store.reserve(ONE))
        proxies[0].refuse()
        proxies[0].drop()
        assert isinstance(error, OutcomeUnknownError)
        assert error.possibly_reserved == 100_000
        assert store.reserve(ONE).segment == Segment(200_000, 300_000)
    assert mark_of(database, "test_business") == 300_000


def test_the_stores_of_a_process_move_together(
    proxies: tuple[TcpProxy, TcpProxy], both: MySqlAddress
) -> None:
    """Once one has moved, the other does too, though its own connection is as good as before."""
    hosts = MySqlHosts(both)
    with opened(hosts) as one, opened(hosts) as other:
        other.reserve(ONE)
        proxies[0].refuse()
        one.reserve(ONE)
        assert (proxies[0].connections, proxies[1].connections) == (1, 1)
        other.reserve(ONE)
        wait_until(lambda: proxies[0].connections == 0)
        assert proxies[1].connections == 2


# Hosts that are read-only


@pytest.fixture(scope="module")
def pair() -> Iterator[ReplicatedPair]:
    """Give a primary and a replica of this module's own, because they are made read-only."""
    with replicated_pair() as running:
        yield running


@pytest.fixture
def replicated(pair: ReplicatedPair) -> Iterator[Database]:
    """Give a database on both servers, with a user who may do what a worker must."""
    with scratch_database(pair.primary.url) as fresh:
        fresh.query(f"CREATE USER '{USER}'@'%' IDENTIFIED BY 'pw'")
        fresh.query(f"GRANT SELECT, UPDATE ON {fresh.name}.* TO '{USER}'@'%'")
        pair.catch_up()
        yield fresh
        set_read_only(pair.primary, on=False)
        set_read_only(pair.replica, on=True)
        fresh.query(f"DROP USER '{USER}'@'%'")


def plain(pair: ReplicatedPair, database: Database) -> MySqlAddress:
    return MySqlAddress.parse(pair.url(USER, "pw", database.name))


def reversed_hosts(address: MySqlAddress) -> MySqlAddress:
    first, second = address.each()
    return several(second, first)


def test_a_replica_is_passed_over(pair: ReplicatedPair, replicated: Database) -> None:
    """Named first, it is asked first, and left for the primary before anything is reserved."""
    with opened(reversed_hosts(plain(pair, replicated))) as store:
        assert store.reserve(ONE).segment == Segment(0, 100_000)
    assert mark_of(replicated, "test_business") == 100_000


def test_a_user_who_may_write_anywhere_leaves_a_replica_alone(
    pair: ReplicatedPair, replicated: Database
) -> None:
    """read_only does not bind an administrator; idalloc's commands keep to it all the same."""
    login = ("idalloc", "idalloc", replicated.name)
    address = reversed_hosts(MySqlAddress.parse(pair.url(*login)))
    with AdminSession(address) as session:
        assert session.rows("SELECT @@port") == [(pair.primary.port,)]
        assert str(session.address) == f"127.0.0.1:{pair.primary.port}/{replicated.name}"


def test_a_host_that_became_read_only_is_left(
    pair: ReplicatedPair, replicated: Database, caplog: pytest.LogCaptureFixture
) -> None:
    """Its refusal is definite; the next reservation is made at the host that takes writes now."""
    with opened(plain(pair, replicated)) as store:
        store.reserve(ONE)
        pair.catch_up()
        set_read_only(pair.primary, on=True)
        set_read_only(pair.replica, on=False)
        error = failure(lambda: store.reserve(ONE))
        assert (type(error), error.reason) == (StoreUnavailableError, StoreReason.READ_ONLY)
        assert f"127.0.0.1:{pair.primary.port}/" in str(error)
        assert store.reserve(ONE).segment == Segment(100_000, 200_000)
        assert mark_of(Database(pair.replica.url, replicated.name), "test_business") == 200_000
    assert mark_of(replicated, "test_business") == 100_000
    assert "is read-only" in caplog.text


def test_with_all_hosts_read_only_nothing_is_reserved_until_one_takes_writes(
    pair: ReplicatedPair, replicated: Database
) -> None:
    """The error says so of each; the reservation after the change succeeds."""
    now = 0.0
    set_read_only(pair.primary, on=True)
    with opened(plain(pair, replicated), clock=lambda: now) as store:
        error = failure(lambda: store.reserve(ONE))
        assert error.reason is StoreReason.READ_ONLY
        assert str(error).count("is read-only (read_only is on)") == 2
        set_read_only(pair.primary, on=False)
        now += 1.0
        assert store.reserve(ONE).segment == Segment(0, 100_000)
