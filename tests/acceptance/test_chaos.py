"""Whole runs under faults: what every caller received is checked afterwards."""

import random
import signal
import time
from pathlib import Path

from devstack import Database, PrivateMySql, PrivateRabbitMq
from devstack.caller import Caller, Summary
from devstack.history import check, load
from devstack.workers import Fleet
from tests.acceptance.conftest import StartCallers

CALLERS = 8
IDS = 200_000
KILLS = 10


def results(callers: list[Caller], timeout: float = 240) -> list[Summary]:
    return [caller.result(timeout) for caller in callers]


def errors(summaries: list[Summary]) -> list[object]:
    return [s.errors | {"first": s.first_errors} for s in summaries if s.errors]


def test_workers_killed_at_random(
    fleet: Fleet, database: Database, start_callers: StartCallers, tmp_path: Path
) -> None:
    """SIGKILL at any instant, again and again: no duplicate, no failed call, none overdue."""
    chance = random.Random(7)
    database.query("INSERT INTO segments (app_tag, max_id, step) VALUES ('order', 0, 1000)")
    fleet.start(4)
    enough = tmp_path / "enough"
    amount = (f"--ids={IDS // CALLERS}", f"--until={enough}")
    callers = start_callers(CALLERS, fleet.amqp_url, *amount, "--tags=order,test_business")
    for _ in range(KILLS):
        chance.choice(fleet.alive()).kill()
        fleet.start(1, ready=False)
        time.sleep(chance.uniform(0.1, 0.6))
        fleet.wait_ready(2)  # on a busy machine a start takes longer than the time between kills
    enough.touch()
    summaries = results(callers)
    assert errors(summaries) == []
    assert max(summary.worst_overrun for summary in summaries) < 0.5
    report = check(load(tmp_path))
    report.assert_clean()
    assert report.total >= IDS


def test_the_broker_restarts_under_load(
    own_rabbitmq: PrivateRabbitMq, database: Database, start_callers: StartCallers, tmp_path: Path
) -> None:
    """Callers with time enough see no error: what was in flight is sent again."""
    with Fleet(own_rabbitmq.url, database.url) as fleet:
        fleet.start(2)
        callers = start_callers(4, own_rabbitmq.url, "--seconds=25", "--timeout=30")
        time.sleep(2)
        own_rabbitmq.stop()
        time.sleep(1)
        own_rabbitmq.start()
        restarted = time.monotonic()
        summaries = results(callers)
    assert errors(summaries) == []
    for summary in summaries:
        assert summary.success_times[-1] > restarted
    check(load(tmp_path)).assert_clean()


def test_the_broker_is_killed_under_load(
    own_rabbitmq: PrivateRabbitMq, database: Database, start_callers: StartCallers, tmp_path: Path
) -> None:
    """A crash of the broker, without a goodbye, is no different."""
    with Fleet(own_rabbitmq.url, database.url) as fleet:
        fleet.start(2)
        callers = start_callers(4, own_rabbitmq.url, "--seconds=20", "--timeout=30")
        time.sleep(2)
        own_rabbitmq.kill()
        own_rabbitmq.start()
        summaries = results(callers)
    assert errors(summaries) == []
    check(load(tmp_path)).assert_clean()


def test_the_database_is_away_for_20_seconds(
    fleet: Fleet,
    own_mysql: PrivateMySql,
    own_database: Database,
    start_callers: StartCallers,
    tmp_path: Path,
) -> None:
    """Ids come from memory, then NO_AVAILABLE_ID in time; they flow again soon after its return.

    The tag's step is fixed: an adaptive one would hold ids for longer than the database is away.
    """
    own_database.query(
        "INSERT INTO segments (app_tag, max_id, step, target_cover) VALUES ('tight', 0, 100, 0)"
    )
    with Fleet(fleet.amqp_url, own_database.url) as workers:
        workers.start(2)
        plenty = start_callers(2, fleet.amqp_url, "--seconds=32", "--pause=0.01", "--batch=2")
        tight = start_callers(
            2, fleet.amqp_url, "--seconds=32", "--pause=0.01", "--batch=2", "--tags=tight"
        )
        time.sleep(3)
        stopped = time.monotonic()
        own_mysql.stop()
        time.sleep(20)
        own_mysql.start()
        returned = time.monotonic()
        served, starved = results(plenty), results(tight)
        assert all(worker.running for worker in workers.workers)
    assert errors(served) == []
    for summary in starved:
        assert set(summary.errors) == {"NoAvailableIdError"}, errors(starved)
        assert stopped < summary.error_times[0]
        assert summary.error_times[-1] < returned + 5
        assert any(time > returned for time in summary.success_times)
        assert summary.worst_overrun < 0.5
    check(load(tmp_path)).assert_clean()


def test_a_database_that_hangs(
    fleet: Fleet,
    own_mysql: PrivateMySql,
    own_database: Database,
    start_callers: StartCallers,
    tmp_path: Path,
) -> None:
    """A database that takes connections and answers nothing is no worse than one that is gone."""
    own_database.query(
        "INSERT INTO segments (app_tag, max_id, step, target_cover) VALUES ('tight', 0, 100, 0)"
    )
    with Fleet(fleet.amqp_url, own_database.url) as workers:
        workers.start(1)
        callers = start_callers(
            2, fleet.amqp_url, "--seconds=18", "--pause=0.01", "--batch=2", "--tags=tight"
        )
        time.sleep(2)
        own_mysql.pause()
        time.sleep(8)
        own_mysql.resume()
        returned = time.monotonic()
        summaries = results(callers)
    for summary in summaries:
        assert set(summary.errors) == {"NoAvailableIdError"}, errors(summaries)
        assert summary.error_times[-1] < returned + 5
        assert any(time > returned for time in summary.success_times)
    check(load(tmp_path)).assert_clean()


def test_workers_stopped_and_continued(
    fleet: Fleet, start_callers: StartCallers, tmp_path: Path
) -> None:
    """A worker that sleeps through its requests wakes up without handing anything out twice."""
    fleet.start(2)
    callers = start_callers(4, fleet.amqp_url, "--seconds=12", "--timeout=5")
    for _ in range(3):
        time.sleep(1.5)
        victim = fleet.workers[0]
        victim.pause()
        time.sleep(1.0)
        victim.resume()
    summaries = results(callers)
    assert errors(summaries) == []
    check(load(tmp_path)).assert_clean()


def test_a_rolling_restart_is_not_noticed(
    fleet: Fleet, start_callers: StartCallers, tmp_path: Path
) -> None:
    """Workers that are told to stop answer or hand back what they took: no call fails."""
    fleet.start(2)
    callers = start_callers(4, fleet.amqp_url, "--seconds=12", "--timeout=5")
    for _ in range(4):
        time.sleep(1)
        old = fleet.alive()[0]
        fleet.start(1)
        old.signal(signal.SIGTERM)
        assert old.wait() == 0
    summaries = results(callers)
    assert errors(summaries) == []
    check(load(tmp_path)).assert_clean()
