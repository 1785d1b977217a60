"""Floods of bad messages and of unknown tags against a real worker."""

import json
import random
import time
from pathlib import Path
from typing import Any

import pika

from devstack import Database
from devstack.workers import Fleet, Worker, blocking_connection, queue_depth
from tests.foreign import ForeignClient
from tests.waiting import wait_until

BAD_MESSAGES = 100_000
UNKNOWN_TAGS = 50_000
WARM_UP_TAGS = UNKNOWN_TAGS
MEBIBYTE = 2**20


def resident_bytes(worker: Worker) -> int:
    """Memory of a worker process as the operating system counts it."""
    pages = int(Path(f"/proc/{worker.pid}/statm").read_text().split()[1])
    return pages * 4096


def bad_message(chance: random.Random) -> tuple[bytes, dict[str, Any]]:
    """Draw one of the ways to get it wrong."""
    body = chance.choice(
        [
            b"",
            b"{",
            b"null",
            b"[]",
            b"\x00\xff" * 20,
            b'{"app_tag":1}',
            b'{"app_tag":"%s"}' % (b"x" * chance.randint(33, 2000)),
            b'{"app_tag":"no such tag"}',
            b'{"app_tag":"test_business","count":%d}' % chance.randint(1_000_001, 2**80),
            b'{"app_tag":"test_business","count":-1}',
            b'{"app_tag":"nobody-%d"}' % chance.randint(1, 10**9),
            b"[" * chance.randint(1, 5000),
            chance.randbytes(100),
        ]
    )
    properties: dict[str, Any] = chance.choice(
        [
            {},
            {"reply_to": ""},
            {"reply_to": f"nowhere-{chance.randint(1, 1000)}"},
            {"reply_to": "amq.rabbitmq.reply-to.x"},
            {"reply_to": "id.alloc", "correlation_id": "loop"},
            {"reply_to": "nowhere", "correlation_id": "c" * 255, "type": "t" * 255},
            {"reply_to": "nowhere", "headers": {"deep": {"deeper": [{"x": 1}] * 5}}},
            {"reply_to": "nowhere", "expiration": "0"},
            {"reply_to": "nowhere", "content_type": "image/png", "priority": 255},
        ]
    )
    return body, properties


def flood(amqp_url: str, caller: ForeignClient, count: int) -> tuple[int, int]:
    """Publish bad messages with a good one among every thousand.

    Returns how many good ones there were, and how many bad ones are sure to reach a worker: one
    whose time is up at once does so only if a worker is waiting for it.
    """
    chance = random.Random(11)
    good = sure = 0
    with blocking_connection(amqp_url) as connection:
        channel = connection.channel()
        for number in range(count):
            body, properties = bad_message(chance)
            channel.basic_publish("", "id.alloc", body, pika.BasicProperties(**properties))
            sure += "expiration" not in properties
            if number % 1000 == 0:
                answer = caller.call("id.alloc", b'{"app_tag":"test_business"}', timeout=60)
                assert answer is not None, "a good request got no answer"
                assert json.loads(answer[0])["resp_code"] == 0
                good += 1
        for size in (MEBIBYTE, 10 * MEBIBYTE):
            channel.basic_publish("", "id.alloc", b"x" * size, pika.BasicProperties(reply_to="no"))
    return good, sure


def wait_until_drained(amqp_url: str, timeout: float = 120) -> None:
    deadline = time.monotonic() + timeout
    while queue_depth(amqp_url, "id.alloc"):
        assert time.monotonic() < deadline, "the worker does not keep up"
        time.sleep(0.1)


def test_a_flood_of_bad_messages(fleet: Fleet) -> None:
    """Every good request among them is answered, no worker dies, and none grows."""
    (worker,) = fleet.start()
    with ForeignClient(fleet.amqp_url) as caller:
        flood(fleet.amqp_url, caller, 5000)  # what memory is ever needed is taken here
        wait_until_drained(fleet.amqp_url)
        before = resident_bytes(worker)
        good, sure = flood(fleet.amqp_url, caller, BAD_MESSAGES)
        wait_until_drained(fleet.amqp_url)
        answer = caller.call("id.health", b"{}")
        assert answer is not None
        counters = json.loads(answer[0])["counters"]
    assert good == BAD_MESSAGES // 1000
    assert counters["connects"] <= 3, "a bad message cost the connection"
    assert counters["requests"] >= sure
    assert counters.get("internal", 0) == 0
    assert worker.running
    assert resident_bytes(worker) - before < 30 * MEBIBYTE
    assert len(worker.log.read_text().splitlines()) < 200, "the log grows with the messages"


def test_a_flood_of_unknown_tags(fleet: Fleet, database: Database) -> None:
    """They are told so, or that they are many; memory is bounded, no lock stays in the database."""
    # As it is by default: what waits for longer is more in memory at a time.
    (worker,) = fleet.start(wait_timeout=2, refill_timeout=2)
    with ForeignClient(fleet.amqp_url) as caller, blocking_connection(fleet.amqp_url) as connection:
        channel = connection.channel()
        replies = str(channel.queue_declare("", exclusive=True).method.queue)
        properties = pika.BasicProperties(reply_to=replies)
        # What a flood needs in memory is taken here, more of it where a look-up takes longer; the
        # second one is to add nothing to it.
        _ask_for_unknown(channel, "warm-up", WARM_UP_TAGS, properties)
        _take(channel, replies, WARM_UP_TAGS)
        before = resident_bytes(worker)
        _ask_for_unknown(channel, "unknown", UNKNOWN_TAGS, properties)
        codes = [json.loads(body)["resp_code"] for body in _take(channel, replies, UNKNOWN_TAGS)]
        answer = caller.call("id.health", b"{}")
        assert answer is not None
        health = json.loads(answer[0])
        # A row between the unknown ones would wait here for a gap lock that was left behind.
        database.query(
            "INSERT INTO segments (app_tag, max_id, step) VALUES ('unknown-25000x', 0, 10)"
        )
        known = caller.call("id.alloc", b'{"app_tag":"unknown-25000x"}')
        assert known is not None
        assert json.loads(known[0])["id"] == 1
    # One user has so many looked up at a time, and on a busy machine a look takes longer.
    assert set(codes) <= {-3, -6, -1}
    assert health["tags_total"] == 0, "unknown tags are kept"
    assert resident_bytes(worker) - before < 20 * MEBIBYTE
    # The refill that the known tag began may still be under way.
    wait_until(
        lambda: (
            not database.query(
                "SELECT trx_id FROM information_schema.innodb_trx WHERE trx_rows_locked > 0"
            )
        )
    )


def _ask_for_unknown(channel: Any, name: str, count: int, properties: pika.BasicProperties) -> None:
    for number in range(count):
        body = b'{"app_tag":"%s-%d"}' % (name.encode(), number)
        channel.basic_publish("", "id.alloc", body, properties)


def _take(channel: Any, queue: str, count: int) -> list[bytes]:
    bodies: list[bytes] = []
    for _method, _properties, body in channel.consume(queue, auto_ack=True, inactivity_timeout=60):
        assert body is not None, f"only {len(bodies)} of {count} were answered"
        bodies.append(body)
        if len(bodies) == count:
            break
    channel.cancel()
    return bodies
