"""Of a name's addresses those are tried first that did not fail lately."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest

from idalloc_worker.engine._effects import ReservationRequest
from idalloc_worker.mysql._addresses import AddressMemory
from idalloc_worker.mysql._host_choice import MySqlHosts
from idalloc_worker.mysql._url import MySqlAddress
from idalloc_worker.store._store import SegmentStore
from idalloc_worker.tags._errors import StoreReason, StoreUnavailableError
from tests.hostile_mysql import Caller, HostileMySql

ONE_ID = ReservationRequest("order", 1)
ONE, TWO, THREE = ((socket.AF_INET, (f"10.0.0.{number}", 3306)) for number in (1, 2, 3))


def test_an_address_that_failed_comes_after_the_others() -> None:
    """Whatever order the name server gives them in; the last one to fail is the last."""
    memory = AddressMemory()
    assert memory.ordered([ONE, TWO, THREE]) == [ONE, TWO, THREE]
    memory.failed(ONE)
    assert memory.ordered([ONE, TWO, THREE]) == [TWO, THREE, ONE]
    assert memory.ordered([THREE, ONE, TWO]) == [THREE, TWO, ONE]
    memory.failed(TWO)
    assert memory.ordered([ONE, TWO, THREE]) == [THREE, ONE, TWO]


def test_failures_side_by_side_are_one() -> None:
    """Two threads that failed at the same address do not turn the order twice."""
    memory = AddressMemory()
    memory.failed(ONE)
    memory.failed(ONE)
    assert memory.ordered([ONE, TWO]) == [TWO, ONE]


def test_addresses_that_are_gone_are_forgotten() -> None:
    """Those of containers change all the time."""
    memory = AddressMemory()
    for number in range(100):
        gone = (socket.AF_INET, ("10.1.0.0", number))
        memory.failed(gone)
        memory.ordered([ONE, TWO])
    assert len(memory._failures) <= 1


@pytest.fixture
def name_of(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let every host name have these ports of this machine for its addresses."""

    def give(*ports: int) -> None:
        found = [(socket.AF_INET, 0, 0, "", ("127.0.0.1", port)) for port in ports]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)

    return give


def no_quorum(caller: Caller) -> None:
    caller.send(b"\xff\x17\x04#08S01WSREP has not yet prepared node for application use")


def test_a_node_that_refuses_is_left_for_the_next_address(name_of: Callable[..., None]) -> None:
    """A single host whose name has two addresses: each refusal moves on, and nothing else does."""
    with HostileMySql(then=no_quorum) as one, HostileMySql(then=no_quorum) as other:
        name_of(one.port, other.port)
        with opened() as store:
            for heard in ([1, 0], [1, 1], [2, 1]):
                reason = failure(lambda: store.reserve(ONE_ID)).reason
                assert reason is StoreReason.NOT_WRITABLE
                assert [server.logins for server in (one, other)] == heard


def test_a_frozen_node_is_left_for_the_next_address(name_of: Callable[..., None]) -> None:
    """It takes connections, as its kernel does that, and never says a word."""
    now = 0.0
    hosts = hosts_at(lambda: now)
    with HostileMySql(then=no_quorum) as server, _hole() as hole:
        name_of(hole, server.port)
        with opened(timeout=0.2, hosts=hosts) as store:
            assert failure(lambda: store.reserve(ONE_ID)).reason is StoreReason.TIMEOUT
        now += 10
        with opened(hosts=hosts) as store:
            assert failure(lambda: store.reserve(ONE_ID)).reason is StoreReason.NOT_WRITABLE


@contextmanager
def _hole() -> Iterator[int]:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        yield listener.getsockname()[1]


def hosts_at(clock: Callable[[], float]) -> MySqlHosts:
    return MySqlHosts(MySqlAddress.parse("mysql://u@nodes.example/db"), clock)


@contextmanager
def opened(timeout: float = 300.0, hosts: MySqlHosts | None = None) -> Iterator[SegmentStore]:
    store = SegmentStore(hosts or hosts_at(time.monotonic), "segments", timeout)
    try:
        yield store
    finally:
        store.close()


def failure(call: Callable[[], object]) -> StoreUnavailableError:
    with pytest.raises(StoreUnavailableError) as raised:
        call()
    return raised.value
