"""A store knows what it reserved, whatever stands between it and its rows: triggers, proxies."""

import contextlib
import time
from collections.abc import Callable, Iterator

import pytest

from devstack import Database, TcpProxy
from devstack.workers import PATIENCE
from idalloc_worker.engine._effects import ReservationRequest
from idalloc_worker.store._store import SegmentStore
from idalloc_worker.tags._errors import (
    InvalidRowError,
    OutcomeUnknownError,
    StoreUnavailableError,
    TagIsOrderedError,
)
from idalloc_worker.tags._segment import Segment
from idalloc_worker.tags._settings import TagExhaustedError
from idalloc_worker.tags._step_size import Demand
from tests.integration.stores import (
    TABLE,
    THE_WRITE,
    add_tag,
    address_of,
    address_through,
    failure,
    mark_of,
    opened,
    remake_table,
)

REFERENCE_COLUMNS = "app_tag VARCHAR(32) PRIMARY KEY, max_id BIGINT NOT NULL, step BIGINT NOT NULL"


@pytest.fixture
def proxy(database: Database) -> Iterator[TcpProxy]:
    address = address_of(database)
    with TcpProxy(address.host, address.port) as running:
        yield running


def before_the_write(proxy: TcpProxy, action: Callable[[], object]) -> None:
    """Do something when the statement that reserves is on its way; once."""

    def act(data: bytes) -> bytes:
        if THE_WRITE in data:
            proxy.on_client_bytes = None
            action()
        return data

    proxy.on_client_bytes = act


# Triggers


def audit(database: Database, first_id: int) -> None:
    """Log each change of a row in a table with ids of its own, as audits are made."""
    database.query(
        "CREATE TABLE audit (id BIGINT AUTO_INCREMENT PRIMARY KEY, app_tag VARCHAR(32)) "
        f"AUTO_INCREMENT = {first_id}"
    )
    database.query(
        f"CREATE TRIGGER log_changes AFTER UPDATE ON {TABLE} FOR EACH ROW "
        "INSERT INTO audit (app_tag) VALUES (NEW.app_tag)"
    )


@pytest.mark.parametrize("first_id", [1, 20, 1000])
def test_an_audit_of_the_table_disturbs_nothing(database: Database, first_id: int) -> None:
    """What the server says of insert ids is the audit's, also where it looks like a mark."""
    add_tag(database, "order")
    audit(database, first_id)
    with opened(address_of(database)) as store:
        segments = [store.reserve(ReservationRequest("order", 1)).segment for _ in range(3)]
        assert segments == [Segment(0, 10), Segment(10, 20), Segment(20, 30)]
        repaired = store.reserve(ReservationRequest("order", 1, floor=990, suspected=30))
        assert (repaired.segment, repaired.rewound_from) == (Segment(990, 1000), 30)
        assert store.give_back("order", 993, 1000)
        assert store.raise_mark("order", 993, 2000)
    assert mark_of(database, "order") == 2000
    assert database.query("SELECT COUNT(*) FROM audit") == [(6,)]


@pytest.mark.parametrize(
    "change", ["OLD.max_id", "OLD.max_id + 1", "NEW.max_id - 1", "NEW.max_id + 1"]
)
def test_a_trigger_that_changes_the_mark_is_refused(database: Database, change: str) -> None:
    """The row would not say what was handed out. Nothing is reserved, and the message says why."""
    add_tag(database, "order", max_id=40)
    database.query(
        f"CREATE TRIGGER meddle BEFORE UPDATE ON {TABLE} FOR EACH ROW SET NEW.max_id = {change}"
    )
    with opened(address_of(database)) as store:
        for _ in range(2):
            with pytest.raises(InvalidRowError, match="a trigger on the table changes it"):
                store.reserve(ReservationRequest("order", 1))
    assert mark_of(database, "order") == 40


def test_a_trigger_that_comes_later_is_noticed_when_it_shows(database: Database) -> None:
    """Once a row lies below what was reserved, the repair sees that it does not stay."""
    add_tag(database, "order", max_id=40)
    with opened(address_of(database)) as store:
        store.reserve(ReservationRequest("order", 1))
        database.query(
            f"CREATE TRIGGER meddle BEFORE UPDATE ON {TABLE} "
            "FOR EACH ROW SET NEW.max_id = OLD.max_id + 1"
        )
        floor = store.reserve(ReservationRequest("order", 1)).segment.right
        with pytest.raises(InvalidRowError, match="a trigger on the table changes it"):
            store.reserve(
                ReservationRequest("order", 1, floor=floor, suspected=mark_of(database, "order"))
            )


# Statements that are executed twice


@pytest.mark.parametrize("columns", [None, REFERENCE_COLUMNS], ids=["own table", "four columns"])
def test_a_give_back_that_is_repeated_takes_nothing_away(
    proxy: TcpProxy, database: Database, columns: str | None
) -> None:
    """A proxy may send a statement again elsewhere, late: what was reserved since stays."""
    if columns is not None:
        remake_table(database, columns)
    add_tag(database, "order")
    statements = record_writes(proxy)
    with opened(address_through(proxy, database)) as store, opened(address_of(database)) as other:
        assert store.reserve(ReservationRequest("order", 1)).segment == Segment(0, 10)
        assert store.give_back("order", 4, 10)
        database.query(f"UPDATE {TABLE} SET step = 6")
        assert other.reserve(ReservationRequest("order", 1)).segment == Segment(4, 10)
        assert len(statements) == 2
        database.query(statements[1].replace("%", "%%"))
    assert mark_of(database, "order") == 10


def test_a_reservation_that_is_repeated_reserves_nothing_more(
    proxy: TcpProxy, database: Database
) -> None:
    """It finds the mark where it has put it the first time."""
    add_tag(database, "order")
    statements = record_writes(proxy)
    with opened(address_through(proxy, database)) as store:
        store.reserve(ReservationRequest("order", 1))
        store.reserve(ReservationRequest("order", 1))
        store.reserve(ReservationRequest("order", 1, floor=100, suspected=20))
        for statement in statements:
            database.query(statement.replace("%", "%%"))
    assert len(statements) == 3
    assert mark_of(database, "order") == 110


def record_writes(proxy: TcpProxy) -> list[str]:
    """Note the statements that change rows, as they pass."""
    statements: list[str] = []

    def note(data: bytes) -> bytes:
        if THE_WRITE in data:
            statements.append(data[5:].decode())  # after the packet's header
        return data

    proxy.on_client_bytes = note
    return statements


# Decisions on what has changed since


@pytest.mark.parametrize(
    ("change", "error"),
    [("ordered = 1", TagIsOrderedError), ("ceiling = 9", TagExhaustedError)],
)
def test_a_setting_that_changed_since_the_read_forbids(
    proxy: TcpProxy, database: Database, change: str, error: type[Exception]
) -> None:
    """Also where the read came from a replica that lags: the write holds against the row."""
    add_tag(database, "order")
    with opened(address_through(proxy, database)) as store:
        store.reserve(ReservationRequest("order", 1))
        before_the_write(proxy, lambda: database.query(f"UPDATE {TABLE} SET {change}"))
        with pytest.raises(error):
            store.reserve(ReservationRequest("order", 1))
    assert mark_of(database, "order") == 10


@pytest.mark.parametrize(
    ("before", "after"),
    [(None, "shop"), ("billing", "shop"), ("billing", "Billing"), ("Müller", "Möller")],
)
def test_users_who_changed_since_the_read_count(
    proxy: TcpProxy, database: Database, before: str | None, after: str
) -> None:
    """Nobody who waits may draw any more: nothing is reserved."""
    add_tag(database, "order")
    change = f"UPDATE {TABLE} SET allowed_users = %s"
    database.query(change, before)
    users = frozenset({before or "billing"})
    with opened(address_through(proxy, database)) as store:
        assert store.reserve(ReservationRequest("order", 1, users=users)).segment == Segment(0, 10)
        before_the_write(proxy, lambda: database.query(change, after))
        reservation = store.reserve(ReservationRequest("order", 1, users=users))
    assert not reservation.segment.size
    assert reservation.settings.allowed_users == frozenset({after})
    assert mark_of(database, "order") == 10


@pytest.mark.parametrize(
    "kind",
    ["VARCHAR(1000) CHARACTER SET latin1", "VARCHAR(1000) CHARACTER SET utf8mb4", "VARBINARY(99)"],
)
def test_settings_that_stay_keep_nobody_from_the_quick_way(
    proxy: TcpProxy, database: Database, kind: str
) -> None:
    """Whatever the column's character set, what was read is what is there."""
    database.query(f"ALTER TABLE {TABLE} MODIFY allowed_users {kind}")
    add_tag(database, "order")
    database.query(
        f"UPDATE {TABLE} SET allowed_users = 'Müller', ceiling = 1000, ordered = 0, max_step = 10"
    )
    with opened(address_through(proxy, database)) as store:
        store.reserve(ReservationRequest("order", 1, users=frozenset({"Müller"})))
        statements = record_writes(proxy)
        locks = record(proxy, b"FOR UPDATE")
        store.reserve(ReservationRequest("order", 1, users=frozenset({"Müller"})))
    assert (len(statements), locks) == (1, [])


def record(proxy: TcpProxy, marker: bytes) -> list[bytes]:
    """Note what has the marker, besides what is noted already."""
    noted: list[bytes] = []
    before = proxy.on_client_bytes

    def note(data: bytes) -> bytes | None:
        if marker in data:
            noted.append(data)
        return before(data) if before else data

    proxy.on_client_bytes = note
    return noted


def test_a_replica_that_lags_is_not_what_counts(proxy: TcpProxy, database: Database) -> None:
    """A mark from the past, with which the quick way fails each time, costs a look and no more."""
    add_tag(database, "order")
    with opened(address_through(proxy, database)) as store, opened(address_of(database)) as other:
        store.reserve(ReservationRequest("order", 1))
        for right in (30, 50, 70):
            before_the_write(proxy, lambda: other.reserve(ReservationRequest("order", 1)))
            assert store.reserve(ReservationRequest("order", 1)).segment == Segment(
                right - 10, right
            )


# Large segments


def test_a_large_segment_follows_a_commit_that_was_answered(
    proxy: TcpProxy, database: Database
) -> None:
    """It is one segment to the caller, and two commits to the database, the first one small."""
    add_tag(database, "order")
    statements = record_writes(proxy)
    demand = Demand(rate=1000.0, previous=100_000)
    with opened(address_through(proxy, database)) as store:
        assert store.reserve(ReservationRequest("order", 25, demand=demand)).segment == Segment(
            0, 300_000
        )
        assert len(statements) == 2
        proxy.on_client_bytes = None
        proxy.lose_answer_to(THE_WRITE)
        error = failure(lambda: store.reserve(ReservationRequest("order", 25, demand=demand)))
    assert isinstance(error, OutcomeUnknownError)
    assert error.possibly_reserved == 30
    assert mark_of(database, "order") == 300_030


def test_a_large_segment_ends_where_somebody_else_begins(
    proxy: TcpProxy, database: Database
) -> None:
    """Who reserves between the two commits keeps what he has; the first part serves."""
    add_tag(database, "order")
    demand = Demand(rate=1000.0, previous=100_000)
    with opened(address_through(proxy, database)) as store, opened(address_of(database)) as other:
        store.reserve(ReservationRequest("order", 1))

        def be_faster_at_the_second() -> None:
            before_the_write(proxy, lambda: other.reserve(ReservationRequest("order", 1)))

        before_the_write(proxy, be_faster_at_the_second)
        assert store.reserve(ReservationRequest("order", 1, demand=demand)).segment == Segment(
            10, 20
        )
        assert mark_of(database, "order") == 30


def test_a_worker_that_is_frozen_in_a_transaction_keeps_the_row_from_nobody(
    database: Database,
) -> None:
    """The server ends its session once an operation's time is up, long before it is idle."""
    add_tag(database, "order")
    with (
        opened(address_of(database), timeout=1.5) as frozen,
        opened(address_of(database)) as other,
    ):
        session = frozen._session
        with session.operation(), session.transaction():
            frozen._lock("order")
            assert reserved_in_the_end(other).left == 0
            with pytest.raises(StoreUnavailableError):
                frozen._lock("order")
        assert reserved_in_the_end(frozen).left > 0
        usual = "SELECT @@SESSION.wait_timeout = @@GLOBAL.wait_timeout"
        assert session.read(usual) == ((1,),), "it may be idle again for as long as any other"


def reserved_in_the_end(store: SegmentStore) -> Segment:
    """Reserve, as soon as nobody's lock is in the way."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with contextlib.suppress(StoreUnavailableError):
            return store.reserve(ReservationRequest("order", 1)).segment
    raise AssertionError("the row stays locked")
