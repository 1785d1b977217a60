"""Where attacks take place: a broker as shipped, rows, two workers and an honest caller."""

import resource
import socket
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import quote

import pika

from devstack import Database, Stack, scratch_database
from devstack.attacks.floods import (
    ALLOC,
    HEALTH,
    OTHERS_QUEUE,
    PRIVATE_TAG,
    SMALL_TAG,
    SPENT_TAG,
    VICTIM_TAG,
)
from devstack.attacks.forgeries import ORDERED_VICTIM
from devstack.attacks.honest import DEADLINE, ORDERED_TAG, PLAIN_TAG, HonestCaller
from devstack.attacks.intruder import Facts
from devstack.attacks.rights import CALLER, INTRUDER, WORKER, ShippedBroker, shipped_broker
from devstack.attacks.wire import DIRECT_REPLY_TO
from devstack.workers import Fleet, Worker, blocking_connection
from tests.foreign import ForeignClient

WORKERS: Final = 2
CEILING: Final = 2**31 - 1

PRIVATE_BEGINS: Final = 7_654_321_000_000
"""The first ids of the tag that is for the honest caller alone: digits that stand out."""

_PATIENCE: Final = 60.0
_STEP: Final = 100_000
_OTHERS_BYTES: Final = 64 * 2**20
_TRACED: Final = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
"""Has workers show what callers want to be shown, to a collector that is away."""

_DESCRIPTORS: Final = 1024  # of a worker, as most systems have it by default


@dataclass(frozen=True)
class AttackSite:
    """All that takes part, but for the attacker."""

    broker: ShippedBroker
    database: Database
    fleet: Fleet
    honest: HonestCaller
    history: Path
    metrics_ports: tuple[int, ...]
    first_rows: Mapping[str, tuple[int, int]]
    """As they were before any attack."""
    asked: Counter[str] = field(default_factory=Counter)
    """Ids that attackers asked for so far, as everybody may, by tag, at most."""

    def facts(self, seconds: float) -> Facts:
        """Tell what an attacker may know."""
        return Facts(
            amqp_url=self.broker.users[INTRUDER],
            seconds=seconds,
            fleet_queues=tuple(self.broker.fleet_queues()),
            metrics_ports=self.metrics_ports,
            reply_queue=OTHERS_QUEUE,
        )

    def most_bytes(self, queue: str) -> int:
        """Tell how many bytes a queue may hold."""
        return _OTHERS_BYTES if queue == OTHERS_QUEUE else self.broker.most_bytes[queue]

    def rows(self) -> Mapping[str, tuple[int, int]]:
        """Return how far each row is, and its step."""
        return _rows(self.database)

    def wait_until_drained(self) -> None:
        """Wait until nothing waits for the workers any more, and both of them consume."""
        self._wait_until_empty()
        with ForeignClient(self.broker.amqp_url) as caller:
            # What workers had taken before is done when each of them has answered what came after.
            for queue in (ALLOC, HEALTH) * (2 * WORKERS):
                _ask(caller, queue)

    def _wait_until_empty(self) -> None:
        deadline = time.monotonic() + _PATIENCE
        with blocking_connection(self.broker.amqp_url) as connection:
            channel = connection.channel()
            while True:
                states = [channel.queue_declare(q, passive=True).method for q in (ALLOC, HEALTH)]
                waiting = sum(state.message_count for state in states)
                consumers = min(state.consumer_count for state in states)
                if not waiting and consumers >= WORKERS:
                    return
                assert time.monotonic() < deadline, f"{waiting} wait for {consumers} consumers"
                connection.sleep(0.1)

    def wait_for_connections(self) -> None:
        """Wait until the management API, which lags behind, has the workers' connections."""
        deadline = time.monotonic() + _PATIENCE
        while len(self.broker.connections(WORKER)) < WORKERS:
            assert time.monotonic() < deadline, "the workers are not connected"
            time.sleep(0.2)

    def start_worker(self) -> Worker:
        """Start one more, and wait until it serves."""
        (worker,) = self.fleet.start(ready=False)
        worker.wait_for_log("Serving", _PATIENCE)
        return worker


def _ask(caller: ForeignClient, queue: str) -> None:
    """Ask until an answer comes.

    A queue may fill up again with what the broker still had of the attacker, and then drops a
    request that asks for no confirm.
    """
    deadline = time.monotonic() + _PATIENCE
    while not caller.call(queue, b'{"app_tag":"%s"}' % PLAIN_TAG.encode(), timeout=5):
        assert time.monotonic() < deadline, f"no answer from {queue}"


@contextmanager
def attack_site(
    stack: Stack, folder: Path, tags: int, deadline: float = DEADLINE
) -> Iterator[AttackSite]:
    """Have all of it run, with so many tags in the memory of both workers."""
    with (
        shipped_broker(stack) as broker,
        scratch_database(stack.mysql_url) as database,
        Fleet(broker.users[WORKER], database.url, _TRACED) as fleet,
    ):
        many = [f"many-{number}" for number in range(tags)]
        _add_rows(database, many, broker.user_name(CALLER))
        broker.management.put(
            f"/api/queues/{quote(broker.vhost)}/{OTHERS_QUEUE}",
            {"durable": True, "arguments": {"x-max-length-bytes": _OTHERS_BYTES}},
        )
        ports = tuple(_start_worker(fleet) for _ in range(WORKERS))
        _warm_up(broker.amqp_url, [PLAIN_TAG, *many])
        with HonestCaller(broker.users[CALLER], folder, deadline) as honest:
            honest.wait_for_success(time.monotonic())
            yield AttackSite(broker, database, fleet, honest, folder, ports, _rows(database))


def _rows(database: Database) -> Mapping[str, tuple[int, int]]:
    found = database.query("SELECT app_tag, max_id, step FROM segments")
    return {tag: (max_id, step) for tag, max_id, step in found}


def _start_worker(fleet: Fleet) -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = int(probe.getsockname()[1])
    (worker,) = fleet.start(ready=False, metrics_port=port, metrics_host="127.0.0.1")
    resource.prlimit(worker.pid, resource.RLIMIT_NOFILE, (_DESCRIPTORS, _DESCRIPTORS))
    worker.wait_for_log("Serving", _PATIENCE)
    worker.wait_for_log("Ready for ordered tags", _PATIENCE)
    return port


def _add_rows(database: Database, many: list[str], friend: str) -> None:
    """Fix the steps, so that a row moves by what is drawn and by what workers hold."""
    plain = "INSERT INTO segments (app_tag, step, target_cover) VALUES "
    database.query(f"UPDATE segments SET target_cover = 0, step = {_STEP}")
    database.query(plain + ", ".join(f"('{tag}', 1000, 0)" for tag in [*many, PRIVATE_TAG]))
    database.query(
        "UPDATE segments SET max_id = %s, allowed_users = %s WHERE app_tag = %s",
        *(PRIVATE_BEGINS, friend, PRIVATE_TAG),
    )
    database.query(
        "INSERT INTO segments (app_tag, max_id, step, target_cover, ceiling, ordered) VALUES "
        f"('{ORDERED_TAG}', 0, {_STEP}, 0, NULL, 1), "
        f"('{ORDERED_VICTIM}', 0, 1000, NULL, {CEILING}, 1), "
        f"('{VICTIM_TAG}', 0, 1000, NULL, {CEILING}, 0), "
        f"('{SPENT_TAG}', 1001, 10, 0, 1000, 0), "
        f"('{SMALL_TAG}', 0, 1, 0, NULL, 0)"
    )


def _warm_up(amqp_url: str, tags: list[str]) -> None:
    """Have each worker hold ids of each tag: the broker gives the requests out in turn."""
    properties = pika.BasicProperties(reply_to=DIRECT_REPLY_TO)
    with blocking_connection(amqp_url) as connection:
        channel = connection.channel()
        replies: list[bytes] = []
        channel.basic_consume(
            DIRECT_REPLY_TO, lambda *message: replies.append(message[-1]), auto_ack=True
        )
        for _ in range(WORKERS):
            for tag in tags:
                channel.basic_publish("", ALLOC, b'{"app_tag":"%s"}' % tag.encode(), properties)
        deadline = time.monotonic() + _PATIENCE
        while len(replies) < WORKERS * len(tags):
            assert time.monotonic() < deadline, "the workers do not answer"
            connection.process_data_events(0.1)
