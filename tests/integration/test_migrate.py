"""`idalloc migrate` on tables of every kind, under load, and beside sessions that hold locks."""

import threading

import pytest

from devstack import Database
from idalloc_worker.engine._effects import ReservationRequest
from idalloc_worker.store import _migrate
from idalloc_worker.store._migrate import migrate
from idalloc_worker.tags._errors import StoreReason, StoreUnavailableError
from idalloc_worker.tags._segment import Segment
from idalloc_worker.tags._settings import TagSettings
from tests.integration.stores import (
    TABLE,
    Background,
    add_tag,
    address_of,
    mark_of,
    opened,
    remake_table,
    run,
    session,
)
from tests.integration.test_tag_settings_command import DEFAULTS, FOUR_COLUMNS


def columns_of(database: Database) -> list[tuple[object, ...]]:
    return database.query(
        "SELECT COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE, COLLATION_NAME FROM "
        "information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = %s "
        "ORDER BY ORDINAL_POSITION",
        TABLE,
    )


def test_a_migrated_table_has_the_columns_of_a_new_one(database: Database) -> None:
    """Name, type, place and collation of what is added are those of schema.sql."""
    new = columns_of(database)[4:]
    remake_table(database, FOUR_COLUMNS)
    assert migrate(address_of(database), TABLE).added == tuple(DEFAULTS)
    assert columns_of(database)[4:] == new
    assert migrate(address_of(database), TABLE).added == ()


def test_what_is_there_already_is_left_alone(database: Database) -> None:
    """A table with some of the columns, by whatever case, gets the others."""
    remake_table(database, f"{FOUR_COLUMNS}, CEILING INT, ordered TINYINT(1)")
    added = migrate(address_of(database), TABLE).added
    assert added == tuple(name for name in DEFAULTS if name not in {"ceiling", "ordered"})
    assert ("CEILING", "int") in [(row[0], str(row[1])[:3]) for row in columns_of(database)]


@pytest.mark.parametrize(
    "options", ["ENGINE = MyISAM", "ENGINE = InnoDB ROW_FORMAT = COMPRESSED", "ENGINE = InnoDB"]
)
def test_any_engine_will_do(database: Database, options: str) -> None:
    """Where the columns cannot be added in an instant, they are added all the same."""
    remake_table(database, FOUR_COLUMNS, options)
    add_tag(database, "order", 500)
    assert migrate(address_of(database), TABLE).added == tuple(DEFAULTS)
    assert mark_of(database, "order") == 500


def test_a_running_store_takes_the_new_columns_in(database: Database) -> None:
    """A store that is open goes on through the change and reads the new settings after it."""
    remake_table(database, FOUR_COLUMNS)
    add_tag(database, "order")
    with opened(address_of(database)) as store:
        assert store.reserve(ReservationRequest("order", 1)).settings == TagSettings(step=10)
        migrate(address_of(database), TABLE)
        assert store.reserve(ReservationRequest("order", 1)).settings == TagSettings(step=10)
        database.query(f"UPDATE {TABLE} SET max_step = 70, allowed_users = 'shop' ")
        assert store.reserve(ReservationRequest("order", 1)).settings == TagSettings(
            step=10, max_step=70, allowed_users=frozenset({"shop"})
        )


def test_reservations_go_on_while_the_table_is_migrated(database: Database) -> None:
    """Stores that reserve without a pause meet neither an error nor an id twice."""
    remake_table(database, FOUR_COLUMNS)
    add_tag(database, "order")
    segments: list[Segment] = []
    done = threading.Event()

    def reserve() -> None:
        with opened(address_of(database)) as store:
            while not done.is_set():
                segments.append(store.reserve(ReservationRequest("order", 1)).segment)

    stores = [Background(reserve) for _ in range(3)]
    try:
        migrate(address_of(database), TABLE)
    finally:
        done.set()
    for store in stores:
        store.join()
    assert sorted(segment.left for segment in segments) == list(range(0, len(segments) * 10, 10))


def test_a_lock_is_waited_for_in_short_turns(database: Database) -> None:
    """While another session has the table in use, the change lets go of it between its tries."""
    remake_table(database, FOUR_COLUMNS)
    add_tag(database, "order")
    pauses: list[float] = []
    with session(database) as other, opened(address_of(database)) as store:
        run(other, "BEGIN")
        run(other, f"SELECT * FROM {TABLE}")

        def pause(seconds: float) -> None:
            pauses.append(seconds)
            store.reserve(ReservationRequest("order", 1))  # nothing waits ahead of it
            if len(pauses) == 2:
                run(other, "COMMIT")

        assert migrate(address_of(database), TABLE, pause).added == tuple(DEFAULTS)
    assert len(pauses) == 2


def test_a_lock_that_stays_is_an_error(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """After enough tries the command says that somebody holds the table, and changed nothing."""
    monkeypatch.setattr(_migrate, "_TRIES", 2)
    remake_table(database, FOUR_COLUMNS)
    add_tag(database, "order")
    with session(database) as other:
        run(other, "BEGIN")
        run(other, f"SELECT * FROM {TABLE}")
        with pytest.raises(StoreUnavailableError) as raised:
            migrate(address_of(database), TABLE, lambda _: None)
    assert raised.value.reason is StoreReason.LOCK_WAIT_TIMEOUT
    assert len(columns_of(database)) == 4


def test_two_who_migrate_at_once_do_not_disturb_each_other(database: Database) -> None:
    """Whoever comes second finds the columns there."""
    remake_table(database, FOUR_COLUMNS)
    both = [Background(lambda: migrate(address_of(database), TABLE)) for _ in range(2)]
    for one in both:
        one.join()
    assert len(columns_of(database)) == 4 + len(DEFAULTS)
