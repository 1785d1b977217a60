"""A host that answers logins and reads, but takes no writes, is left for one that does."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from devstack import Database, PrivateMySql
from devstack.servers._database import create_database, drop_database, scratch_name
from devstack.stalled_commits import commits_hang
from idalloc_worker.engine._effects import ReservationRequest
from idalloc_worker.mysql._url import MySqlAddress
from idalloc_worker.store._admin_session import AdminSession
from idalloc_worker.store._store import SegmentStore
from idalloc_worker.store._tags import TagAdmin
from idalloc_worker.tags._errors import InvalidRowError, StoreReason, TagNotFoundError
from idalloc_worker.tags._segment import Segment
from idalloc_worker.tags._settings import TagExhaustedError
from tests.integration.stores import (
    TABLE,
    add_tag,
    address_of,
    failure,
    mark_of,
    opened,
    run,
    session,
    several,
)

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[PrivateMySql, PrivateMySql]]:
    """Give two servers that know nothing of each other, as their globals are changed."""
    first, second = PrivateMySql(server_id=1), PrivateMySql(server_id=2)
    with ExitStack() as stack:
        for server in (first, second):
            stack.callback(server.close)
        with ThreadPoolExecutor(2, thread_name_prefix="test-start") as pool:
            list(pool.map(lambda server: server.start(), (first, second)))
        yield first, second


@dataclass(frozen=True)
class Two:
    """A database of the same name on two hosts; on the second the tag order is far ahead."""

    first: Database
    second: Database

    @property
    def address(self) -> MySqlAddress:
        return several(address_of(self.first), address_of(self.second))

    @property
    def connections_to_second(self) -> int:
        [(count,)] = self.second.query(
            "SELECT COUNT(*) FROM information_schema.PROCESSLIST "
            "WHERE DB = %s AND ID <> CONNECTION_ID()",
            self.second.name,
        )
        return int(count)


@pytest.fixture
def two(servers: tuple[PrivateMySql, PrivateMySql]) -> Iterator[Two]:
    name = scratch_name("test")
    made = Two(*(create_database(server.url, name) for server in servers))
    add_tag(made.first, "order")
    add_tag(made.second, "order", max_id=1000)
    yield made
    for server in servers:
        drop_database(server.url, name)


def reserve(store: SegmentStore) -> Segment:
    return store.reserve(ReservationRequest("order", 1)).segment


def refuse_writes(database: Database, errno: int) -> None:
    """Answer each change of a row with this error."""
    database.query(
        f"CREATE TRIGGER refuse BEFORE UPDATE ON {TABLE} FOR EACH ROW "
        f"SIGNAL SQLSTATE '08S01' SET MYSQL_ERRNO = {errno}, MESSAGE_TEXT = 'not today'"
    )


@pytest.mark.parametrize("errno", [1047, 1021, 1030, 1114, 3098, 3100, 3101, 3032, 1290, 1146])
def test_a_host_that_refuses_writes_is_left(two: Two, errno: int) -> None:
    """For one that takes them, and not asked again while that one does."""
    with opened(two.address) as store:
        assert reserve(store) == Segment(0, 10)
        refuse_writes(two.first, errno)
        assert str(errno) in str(failure(lambda: reserve(store)))
        assert [reserve(store) for _ in range(3)] == [
            Segment(1000, 1010),
            Segment(1010, 1020),
            Segment(1020, 1030),
        ]


def test_a_host_that_refuses_from_the_start_is_left(two: Two) -> None:
    """Its login works, and that is all; the log says why it is not used."""
    refuse_writes(two.first, 1047)
    with opened(two.address) as store:
        error = failure(lambda: reserve(store))
        assert error.reason is StoreReason.NOT_WRITABLE
        assert reserve(store) == Segment(1000, 1010)


def test_hosts_that_both_refuse_rest_and_are_named(two: Two) -> None:
    """Each is asked in turn, ever more seldom; one that takes writes again serves."""
    now = 0.0
    for database in (two.first, two.second):
        refuse_writes(database, 1047)
    with opened(two.address, clock=lambda: now, jitter=lambda: 1.0) as store:
        for rest in (0.1, 0.2, 0.4, 0.8, 1.0):
            failure(lambda: reserve(store))
            failure(lambda: reserve(store))
            error = failure(lambda: reserve(store))
            assert "no database host can be used" in str(error)
            assert str(error).count("1047") == 2
            now += rest - 0.01
            assert str(failure(lambda: reserve(store))) == str(error)
            now += 0.02
        two.second.query("DROP TRIGGER refuse")
        now += 1.0
        failure(lambda: reserve(store))
        assert reserve(store) == Segment(1000, 1010)


def test_a_command_goes_on_where_writes_are_taken(two: Two) -> None:
    """What the first host did not do, the next one does; with none left each is named."""
    refuse_writes(two.first, 1047)
    with AdminSession(two.address) as admin:
        assert TagAdmin(admin, TABLE).set("order", values={"step": 20}).step == 20
    refuse_writes(two.second, 1047)
    with AdminSession(two.address) as admin:
        error = failure(lambda: TagAdmin(admin, TABLE).set("order", values={"step": 30}))
    assert str(error).count("1047") == 2


def test_a_row_that_is_at_fault_moves_nobody(two: Two) -> None:
    """Another host would say the same of it, and the other tags are served where they were."""
    add_tag(two.first, "locked")
    add_tag(two.first, "refused")
    two.first.query(f"INSERT INTO {TABLE} (app_tag, step, ordered) VALUES ('broken', 10, 7)")
    two.first.query(f"INSERT INTO {TABLE} (app_tag, step, ceiling) VALUES ('small', 10, 1)")
    two.first.query(f"UPDATE {TABLE} SET max_id = 2 WHERE app_tag = 'small'")
    two.first.query(
        f"CREATE TRIGGER guard BEFORE UPDATE ON {TABLE} FOR EACH ROW "
        "IF NEW.app_tag = 'refused' THEN SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 31415; END IF"
    )
    with opened(two.address) as store, session(two.first) as other:
        reserve(store)
        run(other, "BEGIN")
        run(other, f"SELECT * FROM {TABLE} WHERE app_tag = 'locked' FOR UPDATE")
        for _ in range(2):
            with pytest.raises(TagNotFoundError):
                store.reserve(ReservationRequest("nobody", 1))
            with pytest.raises(InvalidRowError):
                store.reserve(ReservationRequest("broken", 1))
            with pytest.raises(TagExhaustedError):
                store.reserve(ReservationRequest("small", 1))
            assert failure(lambda: store.reserve(ReservationRequest("refused", 1))).errno == 31415
            assert failure(lambda: store.reserve(ReservationRequest("locked", 1))).errno == 1205
        run(other, "ROLLBACK")
        assert reserve(store) == Segment(10, 20)
    assert two.connections_to_second == 0


@pytest.mark.parametrize("wait_point", ["AFTER_SYNC", "AFTER_COMMIT"])
def test_a_host_whose_writes_hang_is_left(two: Two, wait_point: str) -> None:
    """As without a quorum: commits wait, with or without the row's lock, and reads are answered."""
    with opened(two.address, timeout=5.0) as store:
        assert reserve(store) == Segment(0, 10)
        with commits_hang(two.first.server_url, wait_point):
            failure(lambda: reserve(store))
            failure(lambda: reserve(store))
            assert reserve(store) == Segment(1000, 1010)


def test_a_host_that_is_locked_against_writes_is_left(two: Two) -> None:
    """A backup that never ends: the row can be locked, and yet not be changed."""
    with opened(two.address) as store, session(two.first) as other:
        assert reserve(store) == Segment(0, 10)
        run(other, "FLUSH TABLES WITH READ LOCK")
        reasons = {failure(lambda: reserve(store)).reason for _ in range(2)}
        assert reasons == {StoreReason.LOCK_WAIT_TIMEOUT}
        assert reserve(store) == Segment(1000, 1010)
    assert mark_of(two.first, "order") == 10


def test_one_write_that_hangs_is_bad_luck(two: Two) -> None:
    """The next one is made at the same host, and if that is answered, nothing has happened."""
    with opened(two.address, timeout=5.0) as store:
        for _ in range(3):
            reserve(store)
            with commits_hang(two.first.server_url, "AFTER_COMMIT"):
                failure(lambda: reserve(store))
    assert two.connections_to_second == 0
    assert mark_of(two.second, "order") == 1000
