"""Acknowledgements that a worker holds back for a moment, over a real broker."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from devstack import Database, PrivateRabbitMq, TcpProxy
from devstack.workers import PATIENCE, Fleet, blocking_connection, through
from idalloc_client import IdClient
from idalloc_client.amqp._io._frames import BASIC_ACK
from idalloc_worker.requests._acks import HELD_FOR
from tests.waiting import wait_until

CALLS = 300
MOST_HELD = 64
OTHERS = 10
"""What a worker acknowledges besides: what it hears of itself and of others."""


def test_lone_calls_share_acknowledgements(fleet: Fleet, proxy: TcpProxy) -> None:
    """One in the time for which a worker holds them back, however many calls there are in it."""
    acknowledgements = 0

    def count(sent: bytes) -> bytes:
        nonlocal acknowledgements
        acknowledgements += sent.count(BASIC_ACK)
        return sent

    fleet.worker_url = through(proxy, fleet.amqp_url)
    fleet.start()
    with IdClient(fleet.amqp_url) as client:
        client.next_id("test_business")
        proxy.on_client_bytes = count
        began = time.monotonic()
        for _ in range(CALLS):
            client.next_id("test_business")
        took = time.monotonic() - began
    assert 0 < acknowledgements <= _most(took)


def test_a_worker_that_dies_with_acknowledgements_costs_ids_only(
    fleet: Fleet, proxy: TcpProxy
) -> None:
    """What it has answered is answered once more by another one, and nobody gets an id twice."""
    lost = Event()

    def lose(sent: bytes) -> bytes | None:
        if BASIC_ACK in sent:
            lost.set()
        return None if lost.is_set() else sent

    fleet.worker_url = through(proxy, fleet.amqp_url)
    fleet.start()
    with IdClient(fleet.amqp_url) as client, ThreadPoolExecutor() as caller:
        client.next_id("test_business")
        proxy.on_client_bytes = lose
        ids = caller.submit(lambda: [client.next_id("test_business") for _ in range(5)])
        assert lost.wait(PATIENCE)
        fleet.workers[0].kill()
        proxy.on_client_bytes = None
        fleet.start()
        got = [*ids.result(PATIENCE), client.next_id("test_business")]
        assert len({*got}) == len(got)
        wait_until(lambda: client.stats().late_replies)


@pytest.mark.long
def test_a_quorum_queue_gets_one_command_for_a_request(
    own_rabbitmq: PrivateRabbitMq, database: Database
) -> None:
    """Each command is an entry in a log that is flushed to disk: acknowledgements share some."""
    with blocking_connection(own_rabbitmq.url) as connection:
        connection.channel().queue_declare(
            "id.alloc", durable=True, arguments={"x-queue-type": "quorum"}
        )
    with (
        Fleet(own_rabbitmq.url, database.url) as fleet,
        IdClient(own_rabbitmq.url, timeout=PATIENCE) as client,
    ):
        fleet.start()
        client.next_id("test_business")
        before, began = _commands(own_rabbitmq), time.monotonic()
        for _ in range(CALLS):
            client.next_id("test_business")
        took = time.monotonic() - began
        assert CALLS <= _commands(own_rabbitmq) - before <= CALLS + _most(took)


def _most(took: float) -> float:
    """Tell how many acknowledgements there may be in a time, fewer than there are calls in it."""
    return took / HELD_FOR + CALLS / MOST_HELD + OTHERS


def _commands(broker: PrivateRabbitMq) -> int:
    """Ask how many there were to the queue."""
    told = broker.ctl(
        "eval",
        "lists:sum([maps:get(commands, Counts, 0) || {{'%2F_id.alloc', _}, Counts}"
        " <- maps:to_list(ra_counters:overview())]).",
    )
    commands: int = json.loads(told)
    return commands
