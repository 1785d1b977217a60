"""Workers that are replaced under load waste what nobody heard of, and no more."""

from pathlib import Path

from devstack import Database
from devstack.history import check
from devstack.history import load as read
from devstack.rewinds import whole_fleet
from devstack.workers import Fleet
from tests.faults.conftest import Load
from tests.integration.test_give_back import add_tag


def test_a_rolling_restart_under_load_wastes_little(
    fleet: Fleet, database: Database, load: Load, tmp_path: Path
) -> None:
    """Four workers, each replaced in turn: no duplicate, no error, no rewind where none was."""
    add_tag(database)
    fleet.start(4)
    load.begin(3, fleet.amqp_url, "--timeout=60", "--tags=order", "--batch=20", "--pause=0.005")
    for _ in range(4):
        load.go_on()
        old = fleet.alive()[0]
        fleet.start()
        assert old.terminate() == 0
    load.go_on()
    load.end_without_errors()
    assert sum(r.counters.get("rewinds_repaired", 0) for r in whole_fleet(fleet)) == 0
    for worker in fleet.alive():
        assert worker.terminate() == 0
    check(read(tmp_path)).assert_clean()
    unheard = sum(worker.log.read_text().count("left unused") for worker in fleet.workers)
    assert unheard == 8
