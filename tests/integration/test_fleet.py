"""Workers that speak to each other over a real broker, and what happens when they may not."""

import asyncio
import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from urllib.parse import quote, urlsplit

import pytest
from pika.adapters.blocking_connection import BlockingChannel
from pika.spec import BasicProperties

from devstack import Database, Management
from devstack.workers import Fleet, blocking_connection
from idalloc_client import AsyncIdClient, CallTimeoutError, IdClient
from idalloc_schemas import HealthReply, Reserved
from tests.connected import all_answer, connect
from tests.foreign import ForeignClient

REQUEST = b'{"app_tag":"test_business"}'
STEP = 100_000


@pytest.fixture
def caller(fleet: Fleet) -> Iterator[ForeignClient]:
    with ForeignClient(fleet.amqp_url) as client:
        yield client


def next_id(caller: ForeignClient) -> int:
    answer = caller.call("id.alloc", REQUEST)
    assert answer is not None
    reply = json.loads(answer[0])
    assert reply["resp_code"] == 0, reply
    return int(reply["id"])


def health(caller: ForeignClient, workers: int) -> list[HealthReply]:
    bodies = caller.gather("id.health", b'{"fleet":true}', workers)
    assert len(bodies) == workers
    return [HealthReply.model_validate_json(body) for body in bodies]


def wait_for_counter(caller: ForeignClient, name: str, value: int) -> None:
    for _ in range(300):
        (reply,) = health(caller, 1)
        if reply.counters.get(name, 0) >= value:
            return
        time.sleep(0.05)
    raise AssertionError(reply.counters)


def test_a_worker_knows_what_a_dead_one_held(
    fleet: Fleet, caller: ForeignClient, database: Database
) -> None:
    """The row is set back below the ids of a worker that crashed; the other one repairs it."""
    fleet.start()
    assert next_id(caller) == 1
    fleet.start()
    fleet.workers[0].kill()
    database.query("UPDATE segments SET max_id = 0")
    assert next_id(caller) == 2 * STEP
    (reply,) = health(caller, 1)
    assert reply.counters["rewinds_repaired"] == 1
    assert "was rolled back to 0" in fleet.workers[1].tail()


def test_a_worker_that_starts_asks(fleet: Fleet, caller: ForeignClient, database: Database) -> None:
    """It starts after the row was set back, and the one that reserved is dead by then."""
    fleet.start()
    assert next_id(caller) == 1
    fleet.start()  # hears of it
    fleet.workers[0].kill()
    fleet.start()  # is told of it
    fleet.workers[1].kill()
    database.query("UPDATE segments SET max_id = 0")
    assert next_id(caller) == 2 * STEP


def test_without_rights_a_worker_serves_unprotected(
    fleet: Fleet, database: Database, management_url: str
) -> None:
    """It says so once, counts it, and gives back what it has left all the same."""
    management, user = Management(management_url), f"idalloc-{secrets.token_hex(4)}"
    parts = urlsplit(fleet.amqp_url)
    vhost = quote(parts.path[1:], safe="%")
    with blocking_connection(fleet.amqp_url) as connection:
        for queue in ("id.alloc", "id.health"):
            connection.channel().queue_declare(queue, durable=True)
    management.put(f"/api/users/{user}", {"password": "pw", "tags": ""})
    try:
        rights = {"configure": "^$", "write": "^amq\\.default$", "read": "^id\\.(alloc|health)$"}
        management.put(f"/api/permissions/{vhost}/{user}", rights)
        address = parts.netloc.rpartition("@")[2]
        url = parts._replace(netloc=f"{user}:pw@{address}").geturl()
        with Fleet(url, database.url) as unprotected, ForeignClient(fleet.amqp_url) as caller:
            (worker,) = unprotected.start(ready=False)
            worker.wait_for_log("Serving")
            assert next_id(caller) == 1
            (reply,) = health(caller, 1)
            assert reply.counters["fleet_refused"] == 1
            assert reply.counters["connects"] == 1
            time.sleep(2)  # some attempts later
            assert worker.terminate() == 0
            assert worker.log.read_text().count("not protected") == 1
            assert database.query("SELECT max_id FROM segments") == [(2,)]
    finally:
        management.delete(f"/api/users/{user}")


def test_an_exchange_that_is_deleted_is_declared_again(
    fleet: Fleet, caller: ForeignClient, database: Database
) -> None:
    """The claim that ran into it is made once more; the channel that serves does not notice."""
    fleet.start()
    database.query("INSERT INTO segments (app_tag, max_id, step) VALUES ('order', 0, 10)")
    (before,) = health(caller, 1)
    with blocking_connection(fleet.amqp_url) as connection:
        connection.channel().exchange_delete("id.fleet")
    answer = caller.call("id.alloc", b'{"app_tag":"order"}')
    assert answer is not None
    assert json.loads(answer[0])["id"] == 1
    (after,) = health(caller, 1)
    assert after.counters["fleet_joins"] == before.counters["fleet_joins"] + 1
    assert after.counters["connects"] == before.counters["connects"]


def test_what_is_not_understood_is_ignored(fleet: Fleet, caller: ForeignClient) -> None:
    """A newer worker may say what an older one has never heard of."""
    fleet.start()
    next_id(caller)
    (before,) = health(caller, 1)
    with blocking_connection(fleet.amqp_url) as connection:
        channel = connection.channel()
        for body in (b"no json", b'{"type":"reserved"}', b'{"v":9,"type":"later"}', b"[]"):
            channel.basic_publish("id.fleet", "", body)
    wait_for_counter(caller, "fleet_invalid", 3)
    assert next_id(caller) == 2
    (after,) = health(caller, 1)
    for name in ("connects", "fleet_joins"):
        assert after.counters[name] == before.counters[name]


def test_a_contested_segment_is_dropped(
    fleet: Fleet, caller: ForeignClient, database: Database
) -> None:
    """Two that reserved the same ids: the one that hears of the other uses none of its own."""
    fleet.start()
    database.query("INSERT INTO segments (app_tag, max_id, step) VALUES ('order', 0, 10)")
    rival = Reserved(worker="rival", app_tag="order", left=0, right=10)
    with blocking_connection(fleet.amqp_url) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.basic_publish("id.fleet", "", rival.encode())
    answer = caller.call("id.alloc", b'{"app_tag":"order"}')
    assert answer is not None
    assert json.loads(answer[0])["id"] == 10


def test_the_client_asks_every_worker(fleet: Fleet, database: Database) -> None:
    """Each answers for itself: one has the tag, to the others it is cold, and all are healthy."""
    fleet.start(3)
    with IdClient(fleet.amqp_url) as client:
        client.next_id("test_business")
        replies = all_answer(client, 3, "test_business")
        assert len({reply.worker for reply in replies}) == 3
        assert sorted(reply.left > 0 for reply in replies) == [False, False, True]
        assert all(tag.healthy for reply in replies for tag in reply.tags)
        assert all(reply.protected for reply in replies)
        assert {reply.database for reply in replies} <= {
            None,
            True,
        }  # known soon
        assert client.next_id("test_business") > 0  # late answers disturb nobody


def test_the_asynchronous_client_asks_every_worker(fleet: Fleet) -> None:
    """The same, without a thread."""
    fleet.start(2)

    async def ask() -> list[HealthReply]:
        async with AsyncIdClient(fleet.amqp_url) as client:
            while len(replies := await client.fleet_health(within=2.0)) < 2:
                pass
            return replies

    replies = asyncio.run(ask())
    assert [reply.worker for reply in replies] == sorted({reply.worker for reply in replies})
    assert len(replies) == 2


def test_a_fleet_without_workers_is_an_error(fleet: Fleet) -> None:
    """Nobody answers: an empty list would look like a healthy fleet."""
    with blocking_connection(fleet.amqp_url) as connection:
        connection.channel().queue_declare("id.health", durable=True)
    with IdClient(fleet.amqp_url) as client:
        connect(client)
        with pytest.raises(CallTimeoutError):
            client.fleet_health(within=0.3)


def test_the_command_shows_every_worker(fleet: Fleet) -> None:
    """Its JSON is a line for each."""
    fleet.start(2)
    command = [sys.executable, "-m", "idalloc_worker", "health", "--fleet", "--json"]
    environment = {**os.environ, "IDALLOC_AMQP_URL": fleet.amqp_url}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    workers = [json.loads(line)["worker"] for line in run.stdout.splitlines()]
    assert len(set(workers)) == 2


def test_a_worker_that_was_frozen_hears_what_its_queue_lost(
    fleet: Fleet, caller: ForeignClient, management_url: str
) -> None:
    """RabbitMQ drops the oldest where a queue is full, and confirms to those who speak."""
    (worker,) = fleet.start()
    next_id(caller)
    (before,) = health(caller, 1)
    management, name = Management(management_url), f"idalloc-{secrets.token_hex(4)}"
    vhost = quote(urlsplit(fleet.amqp_url).path[1:], safe="%")
    policy = {
        "pattern": r"^id\.fleet\.(?!marks$).+$",
        "apply-to": "queues",
        "definition": {"max-length": 3},
    }
    management.put(f"/api/policies/{vhost}/{name}", policy)
    try:
        with blocking_connection(fleet.amqp_url) as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            _say(channel, 1)
            wait_for_counter(caller, "fleet_invalid", 1)
            worker.pause()
            for number in range(2, 80):  # more than the sockets between both hold
                _say(channel, number, size=200_000)
            for number in range(80, 400):  # and than RabbitMQ takes out of a queue in advance: 200
                _say(channel, number)
            worker.resume()
            wait_for_counter(caller, "fleet_gaps", 1)
    finally:
        management.delete(f"/api/policies/{vhost}/{name}")
    (after,) = health(caller, 1)
    assert after.counters["connects"] == before.counters["connects"]
    assert next_id(caller) == 2
    assert "dropped messages" in worker.tail()


def _say(channel: BlockingChannel, number: int, size: int = 1) -> None:
    """Speak as a worker does, and mean nothing."""
    properties = BasicProperties(message_id=f"x-{number}", delivery_mode=1)
    channel.basic_publish("id.fleet", "", bytes(size), properties)
