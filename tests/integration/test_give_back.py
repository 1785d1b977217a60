"""What a worker has left when it stops goes back to the row; nothing is handed out twice for it."""

import json
import time

from devstack import Database
from devstack.rewinds import max_id, whole_fleet
from devstack.workers import Fleet, Worker
from tests.foreign import DIRECT_REPLY_TO, ForeignClient
from tests.integration.test_worker import _locked

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
    fleet.start(4, refill_timeout=40)
    newest_first: list[Worker] = []
    while len(newest_first) < 4:  # the broker asks them in turn
        newest_first.insert(0, fill_one(fleet, database, newest_first))
    assert max_id(database, "order") == 8 * STEP
    for worker in newest_first[:-1]:
        assert worker.terminate() == 0
    (last,) = whole_fleet(fleet)
    assert last.counters.get("rewinds_repaired", 0) == 0
    assert newest_first[-1].terminate() == 0
    assert max_id(database, "order") == 1  # 0 is no id


def fill_one(fleet: Fleet, database: Database, full: list[Worker]) -> Worker:
    """Let one more worker fetch segments for a request that waits for them no longer."""
    rest = [worker for worker in fleet.workers if worker not in full]
    body = b'{"app_tag":"order"}'
    with ForeignClient(fleet.amqp_url) as caller, _locked(database, "order"):
        worker = None
        while worker is None:  # the request may be too old before a worker gets it
            caller.publish("id.alloc", body, reply_to=DIRECT_REPLY_TO, expiration="2000")
            worker = wait_for_lone_refill(fleet, rest)
    wait_until_full(fleet)
    return worker


def wait_for_lone_refill(fleet: Fleet, workers: list[Worker]) -> Worker | None:
    """Wait until one of the workers refills the tag though no request waits for it."""
    for _ in range(200):
        for reply in whole_fleet(fleet):
            for worker in workers:
                tags = reply.tags if reply.worker.endswith(f":{worker.pid}") else []
                if any(tag.waiters == 0 for tag in tags):
                    return worker
        time.sleep(0.05)
    return None
