"""A database that is set back under a running fleet: nobody gets an id twice, nobody an error."""

from pathlib import Path

from devstack import Database
from devstack.history import check
from devstack.history import load as read
from devstack.rewinds import repaired, set_back, wait_for_repair, whole_fleet
from devstack.workers import Fleet
from idalloc_client import IdClient
from tests.faults.conftest import Load

STEP = 200
REWINDS = 5


def test_the_row_is_set_back_under_load(
    fleet: Fleet, database: Database, load: Load, tmp_path: Path
) -> None:
    """Three workers, the row five segments back, several times: each is repaired and counted."""
    database.query(  # a fixed step, so that there are refills all the time
        "INSERT INTO segments (app_tag, step, target_cover) VALUES ('order', %s, 0)", STEP
    )
    fleet.start(3)
    load.begin(3, fleet.amqp_url, "--timeout=60", "--tags=order", "--batch=20", "--pause=0.002")
    for _ in range(REWINDS):
        before = repaired(fleet)
        set_back(database, "order", 5 * STEP)
        wait_for_repair(fleet, before)
    load.go_on()
    load.end_without_errors()
    check(read(tmp_path)).assert_clean()
    assert repaired(fleet) >= REWINDS


def test_a_row_that_nobody_reserves_from_is_repaired_too(fleet: Fleet, database: Database) -> None:
    """The ids in memory last for minutes, but the row is looked at every few seconds."""
    fleet.start(2)
    with IdClient(fleet.amqp_url) as client:
        while sum(reply.left > 0 for reply in whole_fleet(fleet)) < 2:
            client.next_id("test_business")
    high = _mark(database)
    for lower in (high // 2, 0):
        before = repaired(fleet)
        database.query("UPDATE segments SET max_id = %s WHERE app_tag = 'test_business'", lower)
        wait_for_repair(fleet, before)
        assert _mark(database) >= high
        assert repaired(fleet) == before + 1, "one worker repairs it, and counts it once"


def _mark(database: Database) -> int:
    [(mark,)] = database.query("SELECT max_id FROM segments WHERE app_tag = 'test_business'")
    return int(mark)
