"""A caller that knows only AMQP and the JSON contract sees ids, batches, health and every code."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import pytest

from devstack import Database
from devstack.workers import Fleet
from tests.foreign import ForeignClient, ReturnedError

Reply = dict[str, Any]


@pytest.fixture
def caller(fleet: Fleet) -> Iterator[ForeignClient]:
    with ForeignClient(fleet.amqp_url) as client:
        yield client


def alloc(caller: ForeignClient, app_tag: str, count: int | None = None) -> Reply:
    request: dict[str, Any] = {"app_tag": app_tag}
    if count is not None:
        request["count"] = count
    answer = caller.call("id.alloc", json.dumps(request).encode())
    assert answer is not None, "no reply"
    reply: Reply = json.loads(answer[0])
    return reply


def last_error(caller: ForeignClient, app_tag: str, operator: str) -> str:
    body = json.dumps({"app_tag": app_tag}).encode()
    answer = caller.call("id.health", body, user_id=operator)
    assert answer is not None, "no reply"
    return str(json.loads(answer[0])["tags"][0]["last_error"])


def add_row(database: Database, app_tag: str, max_id: int, step: int) -> None:
    database.query(
        "INSERT INTO segments (app_tag, max_id, step) VALUES (%s, %s, %s)", app_tag, max_id, step
    )


def test_ids_batches_and_health(fleet: Fleet, caller: ForeignClient) -> None:
    """The examples of the contract, byte for byte where it fixes them."""
    fleet.start()
    answer = caller.call("id.alloc", b'{"app_tag":"test_business"}')
    assert answer is not None
    assert answer[0] == b'{"resp_code":0,"msg":"success","id":1,"ranges":[[1,2]]}'
    reply = alloc(caller, "test_business", 500)
    assert reply == {"resp_code": 0, "msg": "success", "id": 2, "ranges": [[2, 502]]}
    answer = caller.call("id.health", b'{"app_tag":"test_business"}')
    assert answer is not None
    health = json.loads(answer[0])
    assert (health["resp_code"], health["msg"]) == (0, "success")
    assert health["left"] == sum(right - left for left, right in health["tags"][0]["segments"])
    cold = caller.call("id.health", b'{"app_tag":"nobody_asked_yet"}')
    assert cold is not None
    assert json.loads(cold[0])["tags"][0]["state"] == "cold"


def test_no_worker_ever(caller: ForeignClient) -> None:
    """A mandatory request to a queue that does not exist comes back."""
    with pytest.raises(ReturnedError):
        caller.call("id.alloc", b'{"app_tag":"test_business"}')


def test_invalid_and_not_found(fleet: Fleet, caller: ForeignClient) -> None:
    """-2 names the field; -3 is told for a tag without a row, and ends when it gets one."""
    fleet.start()
    assert alloc(caller, "test_business", 0)["resp_code"] == -2
    assert alloc(caller, "nope")["resp_code"] == -3


def test_exhausted(fleet: Fleet, caller: ForeignClient, database: Database) -> None:
    """The very last ids below 2^63 - 1 go out, then -4."""
    end = 2**63 - 1
    add_row(database, "old", end - 3, 100)
    fleet.start()
    assert alloc(caller, "old", 3)["ranges"] == [[end - 3, end]]
    reply = alloc(caller, "old")
    assert reply["resp_code"] == -4
    assert "id" not in reply


def test_a_row_that_cannot_be_worked_with(
    fleet: Fleet, caller: ForeignClient, database: Database
) -> None:
    """-8; operators are told what is wrong: here a step of 0, in a table without the CHECK."""
    operator = urlsplit(fleet.amqp_url).username or ""  # as workers log in
    database.query("ALTER TABLE segments MODIFY step BIGINT NOT NULL")
    database.query("DROP TABLE segments")
    database.query(
        "CREATE TABLE segments (app_tag VARCHAR(32) PRIMARY KEY, max_id BIGINT, step BIGINT,"
        " update_time DATETIME)"
    )
    add_row(database, "zero", 0, 0)
    add_row(database, "negative", -5, 10)
    fleet.start()
    for app_tag, word in (("zero", "step"), ("negative", "max_id")):
        reply = alloc(caller, app_tag)
        assert reply["resp_code"] == -8
        assert "worker's log" in reply["msg"]
        assert word in last_error(caller, app_tag, operator)


@pytest.mark.long
def test_no_available_id_and_busy(vhost: str, silent_database: str) -> None:
    """-1 when the database is away, -6 at once beyond the limit; both say when to retry."""
    with Fleet(vhost, silent_database) as workers:
        workers.start(1, max_waiters=3, wait_timeout=10)  # all eight ask within that
        with ThreadPoolExecutor(8) as threads:
            replies = list(threads.map(_ask_once, [vhost] * 8))
    codes = sorted(reply["resp_code"] for reply in replies)
    assert codes == [-6] * 5 + [-1] * 3
    assert all(reply["retry_after_ms"] > 0 for reply in replies)
    assert {reply["msg"] for reply in replies if reply["resp_code"] == -1} == {"no available id"}


def _ask_once(amqp_url: str) -> Reply:
    with ForeignClient(amqp_url) as caller:
        return alloc(caller, "test_business")
