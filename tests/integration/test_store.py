"""A store reserves segments in a real database: sizes, marks, rows of every kind, concurrency."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager

import pytest
from pymysql.cursors import Cursor

from devstack import Database
from idalloc_schemas import MAX_ID
from idalloc_worker.engine._effects import ReservationRequest
from idalloc_worker.mysql._host_choice import MySqlHosts
from idalloc_worker.mysql._sql import GIVE_BACK, LOCK_ROW, RAISE_MARK, READ_ROW, RESERVE
from idalloc_worker.store._reservation import Reservation
from idalloc_worker.store._store import SegmentStore
from idalloc_worker.tags._errors import (
    InvalidRowError,
    RewindSuspectedError,
    StoreReason,
    StoreUnavailableError,
    TagNotFoundError,
)
from idalloc_worker.tags._segment import Segment
from idalloc_worker.tags._settings import AUTHORITY, TagExhaustedError, TagSettings
from tests.integration.stores import (
    TABLE,
    Background,
    add_tag,
    address_of,
    failure,
    mark_of,
    opened,
    remake_table,
    run,
    session,
)

PLAIN_COLUMNS = "app_tag VARCHAR(32) PRIMARY KEY, max_id BIGINT NOT NULL, step BIGINT NOT NULL"


def test_first_segment_is_one_step_from_zero(database: Database) -> None:
    """The first reservation of a fresh tag is [0, step), and the row's mark is its end."""
    with opened(address_of(database)) as store:
        assert store.reserve(ReservationRequest("test_business", 1)) == Reservation(
            Segment(0, 100_000), TagSettings(step=100_000)
        )
    assert mark_of(database, "test_business") == 100_000


def test_segments_follow_each_other(database: Database) -> None:
    """Reservations of two stores take turns without a gap and without an overlap."""
    add_tag(database, "order")
    with opened(address_of(database)) as one, opened(address_of(database)) as other:
        segments = [
            store.reserve(ReservationRequest("order", 1)).segment for store in (one, other, one)
        ]
    assert segments == [Segment(0, 10), Segment(10, 20), Segment(20, 30)]


@pytest.mark.parametrize(
    ("want", "size"), [(0, 10), (1, 10), (10, 10), (11, 20), (1_000_000, 1_000_000)]
)
def test_size_is_the_whole_steps_that_cover_the_demand(
    database: Database, want: int, size: int
) -> None:
    """A reservation holds as many whole steps as cover the demand, one at least."""
    add_tag(database, "order")
    with opened(address_of(database)) as store:
        assert store.reserve(ReservationRequest("order", want)).segment.size == size


def test_a_row_below_the_floor_is_a_suspicion(database: Database) -> None:
    """It may be a give-back that was not heard of yet: nothing is reserved, nothing repaired."""
    add_tag(database, "order", max_id=40)
    with opened(address_of(database)) as store:
        with pytest.raises(RewindSuspectedError) as raised:
            store.reserve(ReservationRequest("order", 1, floor=1000))
        assert (raised.value.max_id, raised.value.floor) == (40, 1000)
        with pytest.raises(RewindSuspectedError):  # it has moved since
            store.reserve(ReservationRequest("order", 1, floor=1000, suspected=39))
    assert mark_of(database, "order") == 40


def test_a_row_that_was_set_back_is_raised_above_the_floor(database: Database) -> None:
    """Once the suspicion is confirmed, the reservation repairs the row, and says so."""
    add_tag(database, "order", max_id=40)
    with opened(address_of(database)) as store:
        reservation = store.reserve(ReservationRequest("order", 1, floor=1000, suspected=40))
    assert reservation == Reservation(Segment(1000, 1010), TagSettings(step=10), rewound_from=40)
    assert mark_of(database, "order") == 1010


def test_a_row_at_the_floor_is_not_rewound(database: Database) -> None:
    """A mark that equals the highest end seen is the normal case."""
    add_tag(database, "order", max_id=40)
    with opened(address_of(database)) as store:
        assert store.reserve(ReservationRequest("order", 1, floor=40)) == Reservation(
            Segment(40, 50), TagSettings(step=10)
        )


def test_a_row_set_back_between_the_statements_is_still_raised(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The floor holds in the reserving statement itself, whatever the read before it saw."""
    add_tag(database, "order", max_id=1000)
    with opened(address_of(database)) as store:
        between(store, monkeypatch, lambda: database.query(f"UPDATE {TABLE} SET max_id = 7"))
        with pytest.raises(RewindSuspectedError) as raised:
            store.reserve(ReservationRequest("order", 1, floor=1000))
    assert raised.value.max_id == 7
    assert mark_of(database, "order") == 7


def test_of_two_that_repair_a_row_one_does(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one finds the row repaired, and reserves above it as ever."""
    add_tag(database, "order", max_id=7)
    with opened(address_of(database)) as store, opened(address_of(database)) as other:

        def repaired_meanwhile() -> AbstractContextManager[None]:
            if mark_of(database, "order") == 7:
                other.reserve(ReservationRequest("order", 1, floor=1000, suspected=7))
            return transaction()

        transaction = store._session.transaction
        monkeypatch.setattr(store._session, "transaction", repaired_meanwhile)
        assert store.reserve(
            ReservationRequest("order", 1, floor=1000, suspected=7)
        ) == Reservation(Segment(1010, 1020), TagSettings(step=10))


def test_ids_are_given_back_if_nobody_reserved_since(database: Database) -> None:
    """The row says the next id again; a row that has moved is left alone."""
    add_tag(database, "order")
    with opened(address_of(database)) as store:
        store.reserve(ReservationRequest("order", 1))
        assert store.give_back("order", 4, 10)
        assert mark_of(database, "order") == 4
        assert not store.give_back("order", 3, 10)
        assert mark_of(database, "order") == 4


def test_which_tags_exist(database: Database) -> None:
    """Byte for byte, and also where the row holds nonsense: that is its refill's to complain of."""
    remake_table(database, "app_tag VARCHAR(32) PRIMARY KEY, max_id VARCHAR(9), step INT")
    database.query(f"INSERT INTO {TABLE} VALUES ('order', '1', 1), ('odd', NULL, 0)")
    names = ["order", "odd", "Order", "order ", "nope", *(f"made-up-{n}" for n in range(500))]
    with opened(address_of(database)) as store:
        assert store.existing(names) == {"order", "odd"}


def test_marks_are_read_and_raised(database: Database) -> None:
    """As they are for tags that are there, byte for byte; raised only from what was read."""
    add_tag(database, "order", max_id=40)
    with opened(address_of(database)) as store:
        assert store.read_marks(["order", "ORDER", "nope"]) == {"order": 40}
        assert not store.raise_mark("order", 39, 1000)
        assert mark_of(database, "order") == 40
        assert store.raise_mark("order", 40, 1000)
    assert mark_of(database, "order") == 1000


def test_nobody_reserves_in_the_middle_of_a_give_back(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row is held from the look at it until it is lowered."""
    add_tag(database, "order", max_id=10)
    reasons: list[StoreReason] = []
    with opened(address_of(database)) as store, opened(address_of(database)) as other:
        check = store._session.check_time

        def try_to_reserve() -> None:
            reasons.append(failure(lambda: other.reserve(ReservationRequest("order", 1))).reason)
            check()

        monkeypatch.setattr(store._session, "check_time", try_to_reserve)
        assert store.give_back("order", 4, 10)
        assert other.reserve(ReservationRequest("order", 1)).segment == Segment(4, 14)
    assert reasons == [StoreReason.LOCK_WAIT_TIMEOUT]


def test_a_new_step_counts_from_the_next_reservation(database: Database) -> None:
    """A change of the step in the table needs no restart."""
    add_tag(database, "order", step=10)
    with opened(address_of(database)) as store:
        store.reserve(ReservationRequest("order", 1))
        database.query(f"UPDATE {TABLE} SET step = 25 WHERE app_tag = 'order'")
        assert store.reserve(ReservationRequest("order", 1)) == Reservation(
            Segment(10, 35), TagSettings(step=25)
        )


def test_an_unknown_tag_is_not_found(database: Database) -> None:
    """A tag without a row is an error that names it, and creates nothing."""
    with opened(address_of(database)) as store, pytest.raises(TagNotFoundError) as raised:
        store.reserve(ReservationRequest("nobody", 1))
    assert raised.value.app_tag == "nobody"
    assert database.query(f"SELECT app_tag FROM {TABLE}") == [("test_business",)]


def test_a_deleted_tag_is_not_found(database: Database) -> None:
    """Deleting a row ends reservations at the next one."""
    with opened(address_of(database)) as store:
        store.reserve(ReservationRequest("test_business", 1))
        database.query(f"DELETE FROM {TABLE}")
        with pytest.raises(TagNotFoundError):
            store.reserve(ReservationRequest("test_business", 1))


def test_a_tag_deleted_between_the_statements_is_not_found(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row that vanishes after it was read gives no ids."""
    with opened(address_of(database)) as store:
        between(store, monkeypatch, lambda: database.query(f"DELETE FROM {TABLE}"))
        with pytest.raises(TagNotFoundError):
            store.reserve(ReservationRequest("test_business", 1))


def test_the_last_segment_ends_with_the_id_space(database: Database) -> None:
    """Near 2**63-1 the last segment is smaller than asked for, and after it the tag is used up."""
    add_tag(database, "order", max_id=MAX_ID - 7, step=10)
    with opened(address_of(database)) as store:
        assert store.reserve(ReservationRequest("order", 25)).segment == Segment(MAX_ID - 7, MAX_ID)
        with pytest.raises(TagExhaustedError):
            store.reserve(ReservationRequest("order", 1))
    assert mark_of(database, "order") == MAX_ID


def test_a_floor_at_the_end_of_the_id_space_is_exhausted(database: Database) -> None:
    """A rewound row gives nothing back if the worker has seen the last id."""
    with opened(address_of(database)) as store, pytest.raises(TagExhaustedError):
        store.reserve(ReservationRequest("test_business", 1, floor=MAX_ID, suspected=0))
    assert mark_of(database, "test_business") == 0


@pytest.mark.parametrize("left", [0, 3])
def test_others_may_take_the_last_ids_between_the_statements(
    database: Database, monkeypatch: pytest.MonkeyPatch, left: int
) -> None:
    """The reservation is sized anew, so that it takes what is left then, and no more than that."""
    add_tag(database, "order", max_id=MAX_ID - 10, step=10)
    with opened(address_of(database)) as store:
        between(store, monkeypatch, lambda: raise_mark(database, MAX_ID - left))
        if left:
            assert store.reserve(ReservationRequest("order", 1)).segment == Segment(
                MAX_ID - 3, MAX_ID
            )
        else:
            with pytest.raises(TagExhaustedError):
                store.reserve(ReservationRequest("order", 1))
    assert mark_of(database, "order") == MAX_ID


def test_others_cannot_be_faster_twice(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever lost the race for a row once gets it to itself."""
    add_tag(database, "order", max_id=MAX_ID - 50, step=20)
    looks = 0

    def be_faster() -> None:
        nonlocal looks
        looks += 1
        raise_mark(database, mark_of(database, "order") + 1)

    with opened(address_of(database)) as store:
        between(store, monkeypatch, be_faster)
        assert store.reserve(ReservationRequest("order", 1)).segment == Segment(
            MAX_ID - 49, MAX_ID - 29
        )
    assert looks == 1


def raise_mark(database: Database, mark: int) -> None:
    database.query(
        f"UPDATE {TABLE} SET max_id = GREATEST(max_id, %s) WHERE app_tag = 'order'", mark
    )


def test_a_full_column_reserves_nothing_whatever_the_sql_mode(database: Database) -> None:
    """A value too large for a narrow column is an error, and never cut down to the same ids."""
    remake_table(database, PLAIN_COLUMNS.replace("max_id BIGINT", "max_id INT"))
    add_tag(database, "order", max_id=2**31 - 5)
    with opened(address_of(database)) as store, pytest.raises(TagExhaustedError):
        store.reserve(ReservationRequest("order", 1))
    assert mark_of(database, "order") == 2**31 - 5


def test_an_unsigned_column_ends_where_the_id_space_does(database: Database) -> None:
    """Ids fit 63 bits, also where the column would hold more."""
    remake_table(database, PLAIN_COLUMNS.replace("max_id BIGINT", "max_id BIGINT UNSIGNED"))
    add_tag(database, "order", max_id=MAX_ID + 5)
    with opened(address_of(database)) as store, pytest.raises(TagExhaustedError):
        store.reserve(ReservationRequest("order", 1))


@pytest.mark.parametrize(
    ("max_id", "step", "problem"),
    [(0, 0, "step is 0"), (0, -5, "step is -5"), (-1, 10, "max_id is -1"), (None, 10, "None")],
)
def test_an_impossible_row_is_refused(
    database: Database, max_id: int | None, step: int, problem: str
) -> None:
    """A row that no segment can come from is an error that says why, and stays as it is."""
    remake_table(database, "app_tag VARCHAR(32) PRIMARY KEY, max_id BIGINT, step BIGINT")
    database.query(f"INSERT INTO {TABLE} VALUES ('order', %s, %s)", max_id, step)
    with opened(address_of(database)) as store, pytest.raises(InvalidRowError, match=problem):
        store.reserve(ReservationRequest("order", 1))
    assert database.query(f"SELECT max_id, step FROM {TABLE}") == [(max_id, step)]


def test_two_rows_of_a_tag_are_refused(database: Database) -> None:
    """On a table without a key, two rows of one tag give no ids."""
    remake_table(database, PLAIN_COLUMNS.replace("PRIMARY KEY", ""))
    add_tag(database, "order", max_id=0)
    add_tag(database, "order", max_id=500)
    with opened(address_of(database)) as store, pytest.raises(InvalidRowError, match="primary key"):
        store.reserve(ReservationRequest("order", 1))


def test_the_four_reference_columns_are_enough(database: Database) -> None:
    """A table as the reference design has it serves as it is."""
    remake_table(
        database,
        "app_tag VARCHAR(32) NOT NULL, max_id BIGINT NOT NULL, step BIGINT NOT NULL, "
        "update_time DATETIME DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP, "
        "PRIMARY KEY (app_tag)",
    )
    add_tag(database, "order")
    with opened(address_of(database)) as store:
        assert store.reserve(ReservationRequest("order", 1)).segment == Segment(0, 10)


KINDS_OF_TAG_COLUMN = [
    "VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin",
    "VARCHAR(32) CHARACTER SET latin1 COLLATE latin1_swedish_ci",
    "VARCHAR(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci",
    "VARCHAR(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci",
    "VARCHAR(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
    "VARBINARY(32)",
]


@pytest.mark.parametrize("column", KINDS_OF_TAG_COLUMN)
def test_tags_compare_byte_for_byte_under_any_collation(database: Database, column: str) -> None:
    """`Order` and `order ` are never `order`, whatever the table's collation says."""
    remake_table(database, PLAIN_COLUMNS.replace("VARCHAR(32)", column))
    add_tag(database, "order")
    with opened(address_of(database)) as store:
        assert store.reserve(ReservationRequest("order", 1)).segment == Segment(0, 10)
        for other in ("Order", "ORDER", "order ", "orde"):
            with pytest.raises(TagNotFoundError):
                store.reserve(ReservationRequest(other, 1))
    assert mark_of(database, "order") == 10


@pytest.mark.parametrize("column", KINDS_OF_TAG_COLUMN)
@pytest.mark.parametrize(
    "statement",
    [
        READ_ROW.on(TABLE),
        LOCK_ROW.on(TABLE),
        RESERVE.on(TABLE),
        RESERVE.on(TABLE, AUTHORITY),
        RAISE_MARK.on(TABLE),
        GIVE_BACK.on(TABLE),
    ],
    ids=["read", "lock", "reserve", "reserve with settings", "raise", "give back"],
)
def test_a_row_is_found_by_the_primary_key(database: Database, statement: str, column: str) -> None:
    """No statement reads rows in sequence, and the server has no warning to give."""
    settings = "ordered TINYINT(1), ceiling BIGINT, allowed_users VARCHAR(1000)"
    remake_table(database, f"{PLAIN_COLUMNS.replace('VARCHAR(32)', column)}, {settings}")
    for number in range(50):
        add_tag(database, f"tag-{number}", max_id=9)
    with session(database) as connection, connection.cursor() as cursor:
        before = scanned_rows(cursor)
        [(session_id,)] = run(connection, "SELECT CONNECTION_ID()")
        arguments: dict[str, object] = {"app_tag": "tag-30", "mark": 19, "floor": 19}
        arguments |= {"seen": 9, "left": 3, "right": 9, "session": session_id}
        arguments |= {"ordered": None, "ceiling": None, "allowed_users": None}
        assert cursor.execute(statement, arguments) == 1
        assert run(connection, "SHOW WARNINGS") == []
        assert scanned_rows(cursor) - before <= 1


def scanned_rows(cursor: Cursor) -> int:
    cursor.execute(
        "SHOW SESSION STATUS WHERE Variable_name IN ('Handler_read_next', 'Handler_read_rnd_next')"
    )
    return sum(int(count) for _, count in cursor.fetchall())


def test_an_unknown_tag_waits_for_no_lock(database: Database) -> None:
    """A missing row is looked up without a lock: a session that inserts it is not waited for."""
    with opened(address_of(database)) as store, session(database) as other:
        run(other, "BEGIN")
        run(other, f"INSERT INTO {TABLE} (app_tag, max_id, step) VALUES ('unknown-5', 0, 10)")
        for number in range(10):
            with pytest.raises(TagNotFoundError):
                store.reserve(ReservationRequest(f"unknown-{number}", 1))
        run(other, "ROLLBACK")


def test_unknown_tags_do_not_keep_a_neighbour_from_being_added(database: Database) -> None:
    """While unknown tags are asked for without end, new tags are inserted between them."""
    done = False

    def ask() -> None:
        with opened(address_of(database)) as store:
            number = 0
            while not done:
                number += 1
                with pytest.raises(TagNotFoundError):
                    store.reserve(ReservationRequest(f"unknown-{number % 100}", 1))

    asking = [Background(ask) for _ in range(2)]
    try:
        with session(database) as other:
            run(other, "SET SESSION innodb_lock_wait_timeout = 1")
            for number in range(100):
                row = (f"unknown-{number}x", 0, 10)
                run(other, f"INSERT INTO {TABLE} (app_tag, max_id, step) VALUES (%s, %s, %s)", *row)
    finally:
        done = True
        for thread in asking:
            thread.join()


def test_a_session_gives_locks_up_before_its_caller_does(database: Database) -> None:
    """Whatever the server's settings, waits for locks are short, and cutting values is an error."""
    with opened(address_of(database)) as store:
        store.reserve(ReservationRequest("test_business", 1))
        [settings] = run(
            store._session._opened().connection,
            "SELECT @@innodb_lock_wait_timeout, @@lock_wait_timeout, @@autocommit, @@sql_mode",
        )
    assert settings[:3] == (1, 1, 1)
    assert "STRICT_ALL_TABLES" in settings[3]


def test_a_locked_row_is_a_definite_failure(database: Database) -> None:
    """A row that another session holds ends in lock wait timeout, and nothing is reserved."""
    with opened(address_of(database)) as store, session(database) as other:
        run(other, "BEGIN")
        run(other, f"SELECT * FROM {TABLE} FOR UPDATE")
        with pytest.raises(StoreUnavailableError) as raised:
            store.reserve(ReservationRequest("test_business", 1))
        run(other, "ROLLBACK")
        assert (type(raised.value), raised.value.reason) == (
            StoreUnavailableError,
            StoreReason.LOCK_WAIT_TIMEOUT,
        )
        assert store.reserve(ReservationRequest("test_business", 1)).segment.left == 0


def test_concurrent_stores_never_overlap(database: Database) -> None:
    """Eight stores at once split the ids among them: no overlap, no gap, rising for each."""
    add_tag(database, "order", step=3)

    def reserve_many(seed: int) -> list[Segment]:
        with opened(address_of(database)) as store:
            return [
                store.reserve(ReservationRequest("order", 1 + (seed + n) % 7)).segment
                for n in range(50)
            ]

    with ThreadPoolExecutor(8) as pool:
        histories = list(pool.map(reserve_many, range(8)))
    for history in histories:
        assert history == sorted(history, key=lambda segment: segment.left)
    segments = sorted((s for history in histories for s in history), key=lambda s: s.left)
    assert segments[0].left == 0
    assert [s.left for s in segments[1:]] == [s.right for s in segments[:-1]]
    assert mark_of(database, "order") == segments[-1].right


def test_operators_see_the_program_name(database: Database) -> None:
    """The connection carries the product's name where the server keeps such attributes."""
    [(kept,)] = database.query("SELECT @@performance_schema")
    if not kept:
        pytest.skip("this server keeps no connection attributes (performance_schema is off)")
    with opened(address_of(database)) as store:
        store.reserve(ReservationRequest("test_business", 1))
        names = database.query(
            "SELECT a.ATTR_VALUE FROM performance_schema.session_connect_attrs a "
            "JOIN information_schema.PROCESSLIST p ON p.ID = a.PROCESSLIST_ID "
            "WHERE a.ATTR_NAME = 'program_name' AND p.DB = %s",
            database.name,
        )
    assert names == [("idalloc",)]


def test_a_closed_store_reserves_nothing(database: Database) -> None:
    """After close, which may be repeated, a store refuses and opens no connection."""
    store = SegmentStore(MySqlHosts(address_of(database)), TABLE)
    store.reserve(ReservationRequest("test_business", 1))
    store.close()
    store.close()
    with pytest.raises(StoreUnavailableError, match="closed"):
        store.reserve(ReservationRequest("test_business", 1))
    assert mark_of(database, "test_business") == 100_000


def between(
    store: SegmentStore, monkeypatch: pytest.MonkeyPatch, action: Callable[[], object]
) -> None:
    """Do something between the store's two statements, each time that it uses two.

    The first reservation on a connection is another one, and is made here.
    """
    session = store._session
    store.reserve(ReservationRequest("test_business", 1))
    check = session.check_time

    def act_and_check() -> None:
        if not session._in_transaction:
            action()
        check()

    monkeypatch.setattr(session, "check_time", act_and_check)
