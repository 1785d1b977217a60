"""Whole runs under faults: what every caller received is checked afterwards."""

import random
import signal
import time
from contextlib import suppress
from pathlib import Path

from devstack import Database, PrivateMySql, PrivateRabbitMq
from devstack.history import check
from devstack.history import load as read
from devstack.rewinds import whole_fleet
from devstack.workers import PATIENCE, Fleet
from idalloc_client import IdClient, NoAvailableIdError
from idalloc_schemas import TagHealth
from tests.faults.conftest import Load

KILLS = 10
ENOUGH_TIME = "--timeout=60"
"""For a call that waits for a server to come back."""
SLOWLY = ("--pause=0.01", "--batch=2")


def test_workers_killed_at_random(
    fleet: Fleet, database: Database, load: Load, tmp_path: Path
) -> None:
    """SIGKILL at any instant, again and again: no duplicate and no failed call."""
    chance = random.Random(7)
    database.query("INSERT INTO segments (app_tag, max_id, step) VALUES ('order', 0, 1000)")
    fleet.start(4)
    load.begin(4, fleet.amqp_url, ENOUGH_TIME, "--tags=order,test_business")
    load.go_on()
    for _ in range(KILLS):
        chance.choice(fleet.alive()).kill()
        fleet.start(1, ready=False)
        time.sleep(chance.uniform(0.1, 0.6))  # any instant
        fleet.wait_ready(2)  # a start takes longer than the time between kills
    load.go_on()
    load.end_without_errors()
    check(read(tmp_path)).assert_clean()


def test_the_broker_restarts_under_load(
    own_rabbitmq: PrivateRabbitMq, database: Database, load: Load, tmp_path: Path
) -> None:
    """Callers with time enough see no error: what was in flight is sent again."""
    with Fleet(own_rabbitmq.url, database.url) as fleet:
        fleet.start(2)
        load.begin(4, own_rabbitmq.url, ENOUGH_TIME)
        load.go_on()
        own_rabbitmq.stop()
        own_rabbitmq.start()
        load.go_on()
        load.end_without_errors()
    check(read(tmp_path)).assert_clean()


def test_the_broker_is_killed_under_load(
    own_rabbitmq: PrivateRabbitMq, database: Database, load: Load, tmp_path: Path
) -> None:
    """A crash of the broker, without a goodbye, is no different."""
    with Fleet(own_rabbitmq.url, database.url) as fleet:
        fleet.start(2)
        load.begin(4, own_rabbitmq.url, ENOUGH_TIME)
        load.go_on()
        own_rabbitmq.kill()
        own_rabbitmq.start()
        load.go_on()
        load.end_without_errors()
    check(read(tmp_path)).assert_clean()


def add_tight(database: Database) -> None:
    """Add a tag whose step is fixed: an adaptive one would hold ids for as long as it can."""
    database.query(
        "INSERT INTO segments (app_tag, max_id, step, target_cover) VALUES ('tight', 0, 100, 0)"
    )


def fill(fleet: Fleet, app_tag: str) -> None:
    """Draw until each worker holds two segments of a tag."""
    deadline = time.monotonic() + PATIENCE
    held: list[TagHealth] = []
    with IdClient(fleet.amqp_url, timeout=PATIENCE) as client:
        while [len(tag.segments) for tag in held] != [2] * len(fleet.alive()):
            assert time.monotonic() < deadline, held
            with suppress(NoAvailableIdError):
                client.next_id(app_tag)
            held = [tag for it in whole_fleet(fleet) for tag in it.tags if tag.app_tag == app_tag]


def wait_until_refused(amqp_url: str, app_tag: str) -> None:
    """Draw until there are no ids any more; the database being away, that comes to everybody."""
    deadline = time.monotonic() + PATIENCE
    with IdClient(amqp_url, timeout=PATIENCE, retry=False) as client:
        while time.monotonic() < deadline:
            try:
                client.next_ids(app_tag, 100)
            except NoAvailableIdError:
                return
    raise AssertionError("there were always ids")


def test_the_database_is_away(
    fleet: Fleet, own_mysql: PrivateMySql, own_database: Database, load: Load, tmp_path: Path
) -> None:
    """Ids come from memory as long as they last, then NO_AVAILABLE_ID; they flow again later."""
    add_tight(own_database)
    with Fleet(fleet.amqp_url, own_database.url) as workers:
        workers.start(2)
        fill(workers, "test_business")  # with 200,000 ids each
        fill(workers, "tight")
        served = load.begin(2, fleet.amqp_url, ENOUGH_TIME, *SLOWLY)
        starved = load.begin(
            2, fleet.amqp_url, ENOUGH_TIME, *SLOWLY, "--tags=tight", "--first-answer"
        )
        load.go_on()
        stopped = time.monotonic()
        own_mysql.stop()
        wait_until_refused(fleet.amqp_url, "tight")
        time.sleep(3)  # longer than a request waits: each that met it has been refused
        own_mysql.start()
        load.go_on()
        summaries = load.end()
        assert all(worker.running for worker in workers.workers)
    assert [summaries[name].errors for name in served] == [{}, {}]
    for name in starved:
        assert set(summaries[name].errors) == {"NoAvailableIdError"}, summaries[name].first_errors
        assert stopped < summaries[name].error_times[-1]
    check(read(tmp_path)).assert_clean()


def test_a_database_that_hangs(
    fleet: Fleet, own_mysql: PrivateMySql, own_database: Database, load: Load, tmp_path: Path
) -> None:
    """A database that takes connections and answers nothing is no worse than one that is gone."""
    add_tight(own_database)
    with Fleet(fleet.amqp_url, own_database.url) as workers:
        workers.start(1)
        load.begin(2, fleet.amqp_url, ENOUGH_TIME, *SLOWLY, "--tags=tight")
        load.go_on()
        own_mysql.pause()
        wait_until_refused(fleet.amqp_url, "tight")
        own_mysql.resume()
        load.go_on()
        summaries = load.end()
    for summary in summaries.values():
        assert set(summary.errors) <= {"NoAvailableIdError"}, summary.first_errors
    check(read(tmp_path)).assert_clean()


def test_workers_stopped_and_continued(fleet: Fleet, load: Load, tmp_path: Path) -> None:
    """A worker that sleeps through its requests wakes up without handing anything out twice."""
    fleet.start(2)
    load.begin(4, fleet.amqp_url, ENOUGH_TIME)
    for _ in range(3):
        load.go_on()
        victim = fleet.workers[0]
        victim.pause()
        time.sleep(1)  # longer than a client waits before it sends a request again
        victim.resume()
    load.go_on()
    load.end_without_errors()
    check(read(tmp_path)).assert_clean()


def test_a_rolling_restart_is_not_noticed(fleet: Fleet, load: Load, tmp_path: Path) -> None:
    """Workers that are told to stop answer or hand back what they took: no call fails."""
    fleet.start(2)
    load.begin(4, fleet.amqp_url, ENOUGH_TIME)
    for _ in range(4):
        load.go_on()
        old = fleet.alive()[0]
        fleet.start(1)
        old.signal(signal.SIGTERM)
        assert old.wait() == 0
    load.go_on()
    load.end_without_errors()
    check(read(tmp_path)).assert_clean()
