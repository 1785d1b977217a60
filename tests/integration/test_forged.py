"""Messages that only workers send, sent by a caller that knows the names of all queues.

It has the rights of `idalloc-caller` in `deploy/rabbitmq/definitions.json`: to write to the default
exchange, which leads to every queue of the virtual host.
"""

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import pika
import pytest

from devstack import Database, Management
from devstack.amqp_1_0 import Publisher, RefusedError, string, symbol
from devstack.ordered import WorkerUser, add_ordered_tag, next_id
from devstack.workers import Fleet, blocking_connection
from idalloc_client import CallTimeoutError, IdClient, NoAvailableIdError
from idalloc_schemas import (
    FLEET_HEALTH_EXCHANGE,
    MARKS_STREAM,
    Alive,
    AllocRequest,
    Echo,
    HealthCall,
    Hello,
    Marks,
    Reserved,
    Surrendered,
)
from idalloc_worker.ordered._bundles import MAX_REQUESTS, OrderedRequest, encode_bundle
from idalloc_worker.tags._partitions import QUEUES, partition_of
from tests.connected import connect
from tests.foreign import ForeignClient

TAG = "test_business"
FAR = 2**63 - 2**20
MEBIBYTE = 2**20
PATIENCE = 120.0


@pytest.fixture
def attacker(vhost: str, management_url: str) -> Iterator[WorkerUser]:
    """Give a caller's rights to somebody."""
    with WorkerUser(management_url, vhost) as user:
        user.may(read="^$")
        yield user


@pytest.fixture
def caller(vhost: str) -> Iterator[ForeignClient]:
    """Give a caller who is honest."""
    with ForeignClient(vhost) as client:
        yield client


@contextlib.contextmanager
def channel_of(user: WorkerUser) -> Iterator[Any]:
    with blocking_connection(user.amqp_url) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        yield channel


def counters(caller: ForeignClient) -> dict[str, int]:
    answer = caller.call("id.health", b"{}")
    assert answer is not None
    found: dict[str, int] = json.loads(answer[0])["counters"]
    return found


def wait_until(caller: ForeignClient, holds: Callable[[dict[str, int]], bool]) -> dict[str, int]:
    deadline = time.monotonic() + PATIENCE
    while not holds(found := counters(caller)):
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    return found


def row(database: Database, app_tag: str) -> int:
    return int(database.query(f"SELECT max_id FROM segments WHERE app_tag = '{app_tag}'")[0][0])


def fleet_queues(management_url: str, amqp_url: str) -> list[str]:
    """Tell the names of the workers' queues, as detailed metrics tell them to anybody."""
    vhost = quote(unquote(urlsplit(amqp_url).path[1:]), safe="")
    found = Management(management_url).get(f"/api/queues/{vhost}")
    names = [str(queue["name"]) for queue in found]
    return [name for name in names if name.startswith("id.fleet.") and name != MARKS_STREAM]


def test_forged_bundles_draw_nothing(
    fleet: Fleet, database: Database, caller: ForeignClient, attacker: WorkerUser
) -> None:
    """They are put away unread, whatever they claim to be; so is one of 16 MB."""
    add_ordered_tag(database, "order")
    fleet.start()
    first = next_id(caller, "order")
    request = OrderedRequest(AllocRequest(app_tag="order", count=1_000_000), b"q", b"1", b"guest")
    bundle = encode_bundle([request] * MAX_REQUESTS)
    queue = QUEUES[partition_of("order")]
    with channel_of(attacker) as channel:
        for properties in ({}, {"user_id": attacker.name}, {"app_id": "idalloc worker x:1"}):
            channel.basic_publish("", queue, bundle, pika.BasicProperties(**properties))
        channel.basic_publish("", queue, b"[" * (16 * MEBIBYTE))
        with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="user_id"):
            channel.basic_publish("", queue, bundle, pika.BasicProperties(user_id="guest"))
    found = wait_until(caller, lambda it: it.get("foreign_messages", 0) == 4)
    assert found["dead_lettered"] == 4
    assert next_id(caller, "order") == first + 1
    assert row(database, "order") <= 3000


def test_forged_messages_of_the_fleet_move_no_row(
    fleet: Fleet,
    database: Database,
    caller: ForeignClient,
    attacker: WorkerUser,
    management_url: str,
) -> None:
    """The queues' names are no secret; what comes straight to them is not even read."""
    fleet.start()
    assert next_id(caller, TAG) == 1
    before = row(database, TAG)
    forged = [
        Marks(worker="x", entries=[(TAG, "x", FAR), (TAG, "", FAR)]),
        Reserved(worker="x", app_tag=TAG, left=0, right=FAR),
        Surrendered(worker="x", app_tag=TAG, left=0, right=before, rest=0),
        Hello(worker="x", reply_to="id.alloc"),
        Alive(worker="x", at=1),
        Echo(worker="x", number=1),
        HealthCall(worker="x", reply_to="id.alloc"),
    ]
    (queue,) = (
        name
        for name in fleet_queues(management_url, fleet.amqp_url)
        if not name.startswith(FLEET_HEALTH_EXCHANGE)
    )
    with channel_of(attacker) as channel:
        for message in forged:
            channel.basic_publish("", queue, message.encode())
        channel.basic_publish("", queue, b"[" * (16 * MEBIBYTE))
        marks = forged[0].encode()
        channel.basic_publish("", queue, marks, pika.BasicProperties(user_id=attacker.name))
    found = wait_until(caller, lambda it: it.get("foreign_messages", 0) == len(forged) + 2)
    assert found.get("fleet_invalid", 0) == 0
    answer = caller.call("id.alloc", b'{"app_tag":"test_business","count":300000}')
    assert answer is not None
    assert json.loads(answer[0])["id"] == 2
    assert row(database, TAG) < 10**9


def test_forged_marks_in_the_stream_are_not_believed(
    fleet: Fleet,
    database: Database,
    caller: ForeignClient,
    attacker: WorkerUser,
) -> None:
    """No header, and no annotation of AMQP 1.0, makes one look as if it had come from workers."""
    fleet.start()
    assert next_id(caller, TAG) == 1
    claim = Reserved(worker="x", app_tag=TAG, left=FAR - 1, right=FAR).encode()
    headers = {"x-exchange": "id.fleet", "exchange": "id.fleet", "x-stream-offset": 0}
    with channel_of(attacker) as channel:
        channel.basic_publish("", MARKS_STREAM, claim)
        channel.basic_publish("", MARKS_STREAM, claim, pika.BasicProperties(headers=headers))
    annotation = (symbol("x-exchange"), string("id.fleet"))
    with contextlib.suppress(RefusedError, ConnectionError):  # RabbitMQ 3 does not speak it
        for times in (1, 2):
            with Publisher(attacker.amqp_url, MARKS_STREAM) as publisher:
                publisher.publish(claim, [annotation] * times)
    fleet.workers[0].kill()
    fleet.start()
    answer = caller.call("id.alloc", b'{"app_tag":"test_business"}')
    assert answer is not None
    assert 1 < json.loads(answer[0])["id"] < 10**9
    assert row(database, TAG) < 10**9


def test_no_message_of_anybody_makes_ids_run_out(
    fleet: Fleet, database: Database, caller: ForeignClient
) -> None:
    """Not of a worker either: the tag waits for an operator, and the row stays as it is."""
    fleet.start()
    far = 2**45
    claim = Reserved(worker="x", app_tag=TAG, left=0, right=far)
    with blocking_connection(fleet.amqp_url) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.basic_publish("id.fleet", "", claim.encode())
    with IdClient(fleet.amqp_url, retry=False) as client:
        with pytest.raises(NoAvailableIdError, match="an operator has to say"):
            client.next_id(TAG)
        fleet.workers[0].wait_for_log("tags raise test_business --to")
        assert row(database, TAG) == 0
        database.query("UPDATE segments SET max_id = %s WHERE app_tag = %s", far, TAG)
    assert next_id(caller, TAG) == far


def test_replies_say_which_user_sent_them(fleet: Fleet, caller: ForeignClient) -> None:
    """The broker lets nobody else say it: so a reply can be told from a forged one."""
    fleet.start()
    user = unquote(urlsplit(fleet.amqp_url).username or "")
    for queue, body in (("id.alloc", b'{"app_tag":"test_business"}'), ("id.health", b"{}")):
        answer = caller.call(queue, body)
        assert answer is not None
        assert answer[1].user_id == user
    with IdClient(fleet.amqp_url, workers=user) as client:
        assert client.next_id(TAG) == 2
        assert len(client.fleet_health()) == 1
        assert client.stats().foreign_replies == 0
    with IdClient(fleet.amqp_url, workers=["somebody", "else"]) as client:
        connect(client)
        with pytest.raises(CallTimeoutError, match="no user in `workers` sent"):
            client.next_id(TAG, timeout=2.0)
        assert client.stats().foreign_replies >= 1  # and one for each time it asked again
