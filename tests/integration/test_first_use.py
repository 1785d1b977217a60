"""Tags that are made at their first use: by real workers, from patterns in a real table."""

import json
import threading
import time

import pytest

from devstack import Database
from devstack.workers import Fleet
from idalloc_client import IdClient
from idalloc_schemas import Period, PeriodKind
from idalloc_worker.store._new_rows import NewRow
from tests.foreign import ForeignClient
from tests.integration.stores import TABLE, address_of, mark_of, opened, run, session
from tests.integration.test_database_rights import Users, users
from tests.integration.test_worker import Reply, ask
from tests.integration.test_worker_settings import caller, user

__all__ = ["caller", "user", "users"]

NOT_FOUND, BUSY, NO_ID = -3, -6, -1


def pattern(database: Database, name: str = "tenant-*", **settings: object) -> None:
    columns = {"app_tag": name, "step": 10, "new_per_minute": 1000, **settings}
    names, places = ", ".join(columns), ", ".join(["%s"] * len(columns))
    database.query(f"INSERT INTO {TABLE} ({names}) VALUES ({places})", *columns.values())


def draw(caller: ForeignClient, app_tag: str, **properties: str) -> Reply:
    return ask(caller, json.dumps({"app_tag": app_tag}).encode(), **properties)


def made(database: Database) -> list[str]:
    """Name the rows that workers have made."""
    rows = database.query(f"SELECT app_tag FROM {TABLE} WHERE app_tag LIKE 'tenant-_%%'")
    return sorted(row[0] for row in rows if row[0] != "tenant-*")


def test_the_first_request_makes_the_row(
    fleet: Fleet, caller: ForeignClient, database: Database
) -> None:
    """With the settings of the pattern, which hands out nothing itself; other names stay unknown.

    Without any of it before the pattern is there.
    """
    pattern(database, ceiling=1000, max_count=7, max_id=500)
    fleet.start()
    assert draw(caller, "tenant-1")["id"] == 1
    assert draw(caller, "tenant-1")["id"] == 2
    assert draw(caller, "tenant-*")["resp_code"] == NOT_FOUND
    assert draw(caller, "order")["resp_code"] == NOT_FOUND
    columns = "step, ceiling, max_count, new_per_minute"
    rows = database.query(f"SELECT {columns} FROM {TABLE} WHERE app_tag = 'tenant-1'")
    assert rows == [(10, 1000, 7, None)]
    assert mark_of(database, "tenant-*") == 500
    assert ask(caller, b"{}", "id.health")["counters"]["tags_made"] == 1


def test_a_pattern_for_ordered_tags(
    fleet: Fleet, caller: ForeignClient, database: Database
) -> None:
    """Whoever gets the request makes the row, and passes it on to the owner."""
    pattern(database, ordered=1)
    fleet.start(2)
    assert [draw(caller, "tenant-1")["id"] for _ in range(30)] == list(range(1, 31))


def test_many_workers_at_once_make_one_row(fleet: Fleet, database: Database) -> None:
    """Each of many new tags is asked for by several callers at the same moment."""
    pattern(database)
    fleet.start(3)
    tags = [f"tenant-{number}" for number in range(20)]
    got: dict[str, list[int]] = {tag: [] for tag in tags}
    together = threading.Barrier(4)

    def call() -> None:
        with IdClient(fleet.amqp_url, timeout=60) as client:
            for tag in tags:
                together.wait(60)
                got[tag].append(client.next_id(tag))

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {len(set(ids)) for ids in got.values()} == {4}
    assert made(database) == sorted(tags)


def test_who_makes_names_up_is_stopped_and_stops_nobody(
    fleet: Fleet, caller: ForeignClient, database: Database, user: str
) -> None:
    """A user has its own share; here the others are those whom nobody vouches for."""
    pattern(database, new_per_minute=5)
    fleet.start()
    replies = [draw(caller, f"tenant-{number}") for number in range(40)]
    refused = [reply for reply in replies if reply["resp_code"]]
    assert {reply["resp_code"] for reply in refused} == {BUSY}
    assert all(0 < reply["retry_after_ms"] <= 60_000 for reply in refused)
    assert 5 <= len(made(database)) < 40
    assert draw(caller, "tenant-0")["resp_code"] == 0
    assert draw(caller, "tenant-shop", user_id=user)["id"] == 1


def test_only_users_of_the_pattern(
    fleet: Fleet, caller: ForeignClient, database: Database, user: str
) -> None:
    """For all others the tag does not exist, until somebody has made it."""
    pattern(database, allowed_users=user)
    fleet.start()
    assert draw(caller, "tenant-1")["resp_code"] == NOT_FOUND
    assert made(database) == []
    assert draw(caller, "tenant-1", user_id=user)["id"] == 1
    time.sleep(1.1)  # for as long a refusal is remembered
    assert draw(caller, "tenant-1")["resp_code"] == -5


def test_who_may_not_have_a_tag_made_keeps_it_from_nobody(
    fleet: Fleet, caller: ForeignClient, database: Database, user: str
) -> None:
    """Asking for it all the time, before it is there."""
    pattern(database, allowed_users=user)
    fleet.start()
    refused, enough = threading.Event(), threading.Event()
    codes: set[int] = set()

    def flood() -> None:
        with ForeignClient(fleet.amqp_url) as eve:
            while not enough.is_set():
                codes.add(draw(eve, "tenant-1")["resp_code"])
                refused.set()

    eve = threading.Thread(target=flood)
    eve.start()
    try:
        assert refused.wait(60)
        assert draw(caller, "tenant-1", user_id=user)["id"] == 1
    finally:
        enough.set()
        eve.join()
    assert codes <= {NOT_FOUND, -5}


@pytest.mark.usefixtures("database")
def test_without_the_right_to_insert(users: Users, vhost: str, database: Database) -> None:
    """Callers are told that there are no ids, operators why; other tags are served."""
    pattern(database)
    with Fleet(vhost, users.url_of(users.worker)) as fleet, ForeignClient(vhost) as caller:
        (worker,) = fleet.start()
        for number in range(20):
            assert draw(caller, f"tenant-{number}")["resp_code"] == NO_ID
        assert draw(caller, "test_business")["resp_code"] == 0
        log = worker.log.read_text()
    assert log.count("grant INSERT on the table to the worker's user") == 1
    assert made(database) == []


def test_a_row_that_somebody_else_has_made_meanwhile(database: Database) -> None:
    """Both go on with it, and it stays as it is."""
    pattern(database)
    row = NewRow("tenant-1", "tenant-*")
    with opened(address_of(database)) as store:
        assert store.add_row(row) is True
        database.query(f"UPDATE {TABLE} SET max_id = 70 WHERE app_tag = 'tenant-1'")
        assert store.add_row(row) is False
    assert mark_of(database, "tenant-1") == 70


def test_other_rows_are_in_nobodys_way(database: Database) -> None:
    """Somebody holds one, whatever for: a row is made from its pattern, and nothing else is read.

    The same with the row of a period.
    """
    pattern(database)
    database.query(f"INSERT INTO {TABLE} (app_tag, step, period) VALUES ('slip', 1, 'year')")
    with session(database) as other, opened(address_of(database)) as store:
        run(other, "BEGIN")
        run(other, f"SELECT * FROM {TABLE} WHERE app_tag = 'test_business' FOR UPDATE")
        assert store.add_row(NewRow("tenant-1", "tenant-*")) is True
        settings = store.templates().rows["slip"]
        year = Period.at(PeriodKind.YEAR, store.read_clock(), settings.zone)
        assert store.add_row(NewRow.of_period(year.row_of("slip"), year, settings)) is True
