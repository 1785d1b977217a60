"""A message that ends the connection of whoever takes it is set aside, whichever queue it is in.

RabbitMQ 4 takes AMQP 1.0 from everybody who may publish, and fails over some messages when it turns
them into AMQP 0-9-1 for a consumer.
"""

import json
import time
from contextlib import suppress
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import pytest

from devstack import Database, Management, Stack
from devstack.amqp10 import RefusedError, Sender, data, footer, long, properties, string, symbol
from devstack.workers import Fleet, queue_depth
from tests.foreign import ForeignClient

TAG = b'{"app_tag":"test_business"}'
LATE = b'{"app_tag":"late"}'
ORDERED = b'{"app_tag":"invoice"}'
CULPRITS = (
    (properties(content_type=symbol("x" * 256)), data(TAG)),
    (properties(correlation_id=long(1)), data(TAG)),
    (properties(content_encoding=long(1), reply_to=string("nowhere")), data(b"")),
    (data(TAG), footer({symbol("x"): string("y")})),
)
"""Each in another way: too long for a short string, of a type that has no counterpart."""


def ask(caller: ForeignClient, queue: str = "id.alloc", body: bytes = TAG) -> dict[str, Any]:
    answer = caller.call(queue, body, timeout=60)
    assert answer is not None, "an honest request got no answer"
    reply: dict[str, Any] = json.loads(answer[0])
    assert reply["resp_code"] == 0, reply
    return reply


def set_aside(caller: ForeignClient, workers: int) -> int:
    """Count what the workers have set aside."""
    answers = caller.gather("id.health", b'{"fleet":true}', workers, timeout=60)
    assert len(answers) == workers
    return sum(json.loads(answer)["counters"].get("poison_set_aside", 0) for answer in answers)


def fleet_queues(amqp_url: str, stack: Stack) -> list[str]:
    """Name the workers' own queues, as RabbitMQ's metrics tell everybody."""
    vhost = quote(unquote(urlsplit(amqp_url).path.removeprefix("/")), safe="")
    queues = Management(stack.management_url).get(f"/api/queues/{vhost}")
    return [queue["name"] for queue in queues if queue.get("exclusive")]


def send(amqp_url: str, queue: str, times: int = 1) -> None:
    with Sender(amqp_url, queue) as sender:
        for _ in range(times):
            for sections in CULPRITS:
                sender.send(*sections)


@pytest.fixture
def poisonous(vhost: str, fleet: Fleet, database: Database) -> str:
    """Give the URL of a broker that takes AMQP 1.0; it has an ordered tag besides."""
    database.query("INSERT INTO segments (app_tag, step, ordered) VALUES ('invoice', 1000, 1)")
    del fleet  # it ends after this
    try:
        with Sender(vhost, "id.none"):
            pass
    except (RefusedError, ConnectionResetError) as error:
        if "speaks no AMQP 1.0" in str(error):
            pytest.skip("RabbitMQ before release 4 takes no AMQP 1.0 by itself")
    return vhost


@pytest.mark.parametrize("queue", ["id.alloc", "id.health", "id.ordered.4"])
def test_culprits_in_a_queue(poisonous: str, fleet: Fleet, queue: str) -> None:
    """Honest requests of every kind are answered, and each culprit is counted."""
    for worker in fleet.start(2):
        worker.wait_for_log("Ready for ordered tags")
    with ForeignClient(poisonous) as caller:
        first = ask(caller, body=ORDERED)["id"]
        send(poisonous, queue)
        assert ask(caller)["id"] > 0
        assert ask(caller, body=ORDERED)["id"] > first
        ask(caller, "id.health", b"{}")
        assert set_aside(caller, 2) == len(CULPRITS)
    assert queue_depth(poisonous, queue) == 0


def test_culprits_in_the_stream(poisonous: str, fleet: Fleet, database: Database) -> None:
    """A worker that starts reads past them, and knows what was reserved before and after."""
    database.query("INSERT INTO segments (app_tag, step) VALUES ('late', 1000)")
    (worker,) = fleet.start()
    with ForeignClient(poisonous) as caller:
        first = ask(caller)["id"]
        send(poisonous, "id.fleet.marks")
        late = ask(caller, body=LATE)["id"]
        worker.kill()
        database.query("UPDATE segments SET max_id = 0")
        (worker,) = fleet.start()
        assert ask(caller)["id"] > first
        assert ask(caller, body=LATE)["id"] > late
        assert ask(caller, "id.health", b"{}")["marks"] == "broker"
    worker.wait_for_log("Skipping message")
    assert worker.count_in_log("closed with 541") > 0


def test_culprits_in_the_queue_of_one_worker(poisonous: str, fleet: Fleet, stack: Stack) -> None:
    """They end its connection, and go with it: the next one has another queue."""
    (worker,) = fleet.start()
    with ForeignClient(poisonous) as caller:
        for times in (1, 2, 3):
            while worker.count_in_log("closed with 541") < times:
                for queue in fleet_queues(poisonous, stack):  # the list may lag behind
                    with suppress(RefusedError), Sender(poisonous, queue) as sender:
                        sender.send_settled(*CULPRITS[0])
                time.sleep(0.1)
            ask(caller)
