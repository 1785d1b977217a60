"""No reply address that a caller may invent ends a worker's connection."""

import base64
import json
import struct
from typing import Any

import pika
import pytest

from devstack import Database
from devstack.workers import Fleet, blocking_connection
from idalloc_worker.requests._reply_address import release_of
from tests.foreign import ForeignClient

PREFIX = "amq.rabbitmq.reply-to."
ORDERED_TAG = "invoice"


def genuine(amqp_url: str) -> str:
    """Have the broker make an address, whose channel is closed then."""
    with blocking_connection(amqp_url) as connection:
        channel = connection.channel()
        queue = str(channel.queue_declare("", exclusive=True).method.queue)
        channel.basic_consume("amq.rabbitmq.reply-to", lambda *_: None, auto_ack=True)
        own = pika.BasicProperties(reply_to="amq.rabbitmq.reply-to")
        channel.basic_publish("", queue, b"", own)
        _, properties, _ = channel.basic_get(queue, auto_ack=True)
        assert properties is not None
        return str(properties.reply_to)


def with_number(address: str, number: int) -> str:
    """Name another process of the same node."""
    encoded, _, key = address.removeprefix(PREFIX).partition(".")
    pid = base64.b64decode(encoded)
    changed = pid[:-12] + struct.pack(">I", number) + pid[-8:]
    return f"{PREFIX}{base64.b64encode(changed).decode()}.{key}"


def of_no_node(address: str) -> str:
    """Name a node that no cluster has."""
    key = address.rpartition(".")[2]
    pid = b"\x83Xv\x00\x0creply@123456" + struct.pack(">III", 813, 0, 7)
    return f"{PREFIX}{base64.b64encode(pid).decode()}.{key}"


def fails_over_nodes(amqp_url: str) -> bool:
    with blocking_connection(amqp_url) as connection:
        told = connection._impl.server_properties or {}
        release = release_of(told)
    return release is not None and release < (3, 10, 12)


def invented(amqp_url: str) -> list[str]:
    """List addresses over which RabbitMQ 3.10 closes the connection that answers, and others."""
    address = genuine(amqp_url)
    return [
        *(f"{PREFIX}{rest}" for rest in ("x.y", "x", "a.b.c", "aGVsbG8=.k")),
        address.replace("=", ""),
        with_number(address, 2**28 - 1),
        of_no_node(address),
    ]


def ask(caller: ForeignClient, queue: str, body: bytes) -> dict[str, Any]:
    answer = caller.call(queue, body, timeout=30)
    assert answer is not None, "a good request got no answer"
    reply: dict[str, Any] = json.loads(answer[0])
    return reply


@pytest.mark.parametrize(
    ("queue", "body"),
    [
        ("id.alloc", b'{"app_tag":"test_business"}'),
        ("id.alloc", b'{"app_tag":"invoice"}'),
        ("id.health", b"{}"),
        ("id.health", b'{"fleet":true}'),
    ],
)
def test_invented_direct_reply_to_addresses(
    fleet: Fleet, database: Database, queue: str, body: bytes
) -> None:
    """Requests with them are put away, and everybody else is served on the same connection."""
    database.query(f"INSERT INTO segments (app_tag, max_id, step) VALUES ('{ORDERED_TAG}', 0, 10)")
    fleet.start()
    with ForeignClient(fleet.amqp_url) as caller, ForeignClient(fleet.amqp_url) as attacker:
        assert ask(caller, "id.alloc", b'{"app_tag":"test_business"}')["id"] == 1
        for address in invented(fleet.amqp_url):
            attacker.publish(queue, body, reply_to=address)
        assert ask(caller, "id.alloc", b'{"app_tag":"test_business"}')["id"] > 1
        if queue == "id.alloc" and fails_over_nodes(fleet.amqp_url):
            fleet.workers[0].wait_for_log("ended the connection")
        alive = genuine(fleet.amqp_url)  # nobody listens any more, and that is no harm
        attacker.publish(queue, body, reply_to=alive)
        assert ask(caller, "id.alloc", b'{"app_tag":"test_business"}')["id"] > 2
        counters = ask(caller, "id.health", b"{}")["counters"]
    assert counters["connects"] <= 2, "an address cost the connection"
    # To a later RabbitMQ the last two are addresses like others.
    assert counters["dead_lettered"] >= len(invented(fleet.amqp_url)) - 2
