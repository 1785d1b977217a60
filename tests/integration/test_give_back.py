"""What a worker has left when it stops goes back to the row; nothing is handed out twice for it."""

import json
import time

from devstack import Database
from devstack.rewinds import max_id, whole_fleet
from devstack.workers import Fleet, Worker
from idalloc_schemas import RespCode
from tests.foreign import ForeignClient

STEP = 1000


def add_tag(database: Database, app_tag: str = "order", step: int = STEP) -> None:
    database.query(
        "INSERT INTO segments (app_tag, step, target_cover) VALUES (%s, %s, 0)", app_tag, step
    )


def next_id(fleet: Fleet, count: int = 1) -> int:
    with ForeignClient(fleet.amqp_url) as caller:
        body = json.dumps({"app_tag": "order", "count": count}).encode()
        answer = caller.call("id.alloc", body)
    assert answer is not None
    first: int = json.loads(answer[0])["id"]
    return first


def wait_until_full(fleet: Fleet) -> None:
    """Wait until every worker that serves the tag holds two segments of it."""
    for _ in range(400):
        tags = [tag for reply in whole_fleet(fleet) for tag in reply.tags]
        if tags and all(tag.state == "ready" and len(tag.segments) == 2 for tag in tags):
            return
        time.sleep(0.05)
    raise AssertionError(f"not full: {tags}")


def test_a_clean_stop_of_a_lone_worker_loses_nothing(fleet: Fleet, database: Database) -> None:
    """The row says exactly the next id, and the next worker goes on there."""
    add_tag(database)
    fleet.start()
    assert next_id(fleet, 7) == 1
    wait_until_full(fleet)
    assert max_id(database, "order") == 2 * STEP
    assert fleet.workers[0].terminate() == 0
    assert max_id(database, "order") == 8
    assert f"{2 * STEP - 8} ids returned to the database, 0 left unused" in fleet.workers[0].tail()
    fleet.start()
    assert next_id(fleet) == 8


def test_a_worker_that_handed_out_all_gives_nothing_back(fleet: Fleet, database: Database) -> None:
    """A tag that was never asked for again is given back whole; id 0 is not among it."""
    add_tag(database, step=10)
    fleet.start()
    next_id(fleet, 19)  # 1 to 19: both segments, to the last id
    wait_until_full(fleet)
    taken = max_id(database, "order")
    assert fleet.workers[0].terminate() == 0
    assert max_id(database, "order") == 20 < taken


def test_a_killed_worker_gives_nothing_back(fleet: Fleet, database: Database) -> None:
    """Its ids are lost, none of them goes out again."""
    add_tag(database)
    fleet.start()
    assert next_id(fleet) == 1
    wait_until_full(fleet)
    fleet.workers[0].kill()
    fleet.start()
    assert next_id(fleet) == 2 * STEP


def test_workers_that_stop_newest_segment_first_lose_nothing(
    fleet: Fleet, database: Database
) -> None:
    """Each lowers the row to where the one before it began; none takes that for a rewind."""
    add_tag(database)
    database.query("UPDATE segments SET max_count = 1")
    fleet.start(4)
    newest_first: list[Worker] = []
    while len(newest_first) < 4:
        newest_first.insert(0, fill_one(fleet, newest_first))
    assert max_id(database, "order") == 8 * STEP
    for worker in newest_first[:-1]:
        assert worker.terminate() == 0
    (last,) = whole_fleet(fleet)
    assert last.counters.get("rewinds_repaired", 0) == 0
    assert newest_first[-1].terminate() == 0
    assert max_id(database, "order") == 1  # 0 is no id


def fill_one(fleet: Fleet, full: list[Worker]) -> Worker:
    """Let one more worker fetch segments, for a request that it then refuses: no id is used."""
    rest = {worker.pid: worker for worker in fleet.workers if worker not in full}
    while True:  # the broker asks them in turn
        with ForeignClient(fleet.amqp_url) as caller:
            answer = caller.call("id.alloc", b'{"app_tag":"order","count":2}')
        assert answer is not None
        assert json.loads(answer[0])["resp_code"] == RespCode.INVALID_REQUEST
        wait_until_full(fleet)
        for reply in whole_fleet(fleet):
            pid = int(reply.worker.rpartition(":")[2])
            if reply.tags and pid in rest:
                return rest[pid]
