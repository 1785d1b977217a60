"""A real worker process, asked by a caller that knows only the contract."""

import json
import os
import signal
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, urlsplit

import pika
import pymysql
import pytest

from devstack import Database, Management
from devstack.workers import Fleet, blocking_connection, consumer_counts, queue_depth
from idalloc_client import IdClient
from tests.foreign import ForeignClient
from tests.waiting import wait_until

Reply = dict[str, Any]


def ask(caller: ForeignClient, body: bytes, queue: str = "id.alloc", **properties: Any) -> Reply:
    """Call and decode, or fail."""
    answer = caller.call(queue, body, **properties)
    assert answer is not None, "no reply"
    reply: Reply = json.loads(answer[0])
    return reply


def poll_health(caller: ForeignClient, app_tag: str, left: int) -> Reply:
    """Ask until the second segment is there."""
    body = json.dumps({"app_tag": app_tag}).encode()
    for _ in range(200):
        reply = ask(caller, body, "id.health")
        if reply.get("left") == left:
            break
        time.sleep(0.02)
    return reply


@pytest.fixture
def caller(fleet: Fleet) -> Iterator[ForeignClient]:
    with ForeignClient(fleet.amqp_url) as client:
        yield client


def test_the_reference_numbers(fleet: Fleet, caller: ForeignClient, database: Database) -> None:
    """Ids 1 and 2 of a fresh tag, then 199997 left, and the row at 200000."""
    fleet.start()
    request = b'{"app_tag":"test_business"}'
    assert ask(caller, request) == {
        "resp_code": 0,
        "msg": "success",
        "id": 1,
        "ranges": [[1, 2]],
    }
    assert ask(caller, request)["id"] == 2
    health = poll_health(caller, "test_business", 199997)
    assert (health["resp_code"], health["left"]) == (0, 199997)
    assert database.query("SELECT max_id FROM segments") == [(200000,)]


def test_replies_carry_what_the_contract_says(fleet: Fleet, caller: ForeignClient) -> None:
    """The correlation id comes back, with content type, message type and the worker's name."""
    fleet.start()
    answer = caller.call("id.alloc", b'{"app_tag":"test_business"}', correlation_id="mine")
    assert answer is not None
    properties = answer[1]
    assert properties.correlation_id == "mine"
    assert properties.content_type == "application/json"
    assert properties.type == "id.alloc.reply"
    assert str(properties.app_id).startswith("idalloc worker ")


def test_a_batch_spans_segments(fleet: Fleet, caller: ForeignClient, database: Database) -> None:
    """A batch beyond the step is served whole, and the row moves by whole steps."""
    database.query("INSERT INTO segments (app_tag, max_id, step) VALUES ('small', 0, 10)")
    fleet.start()
    assert ask(caller, b'{"app_tag":"small","count":35}')["ranges"] == [[1, 36]]
    assert ask(caller, b'{"app_tag":"small","count":1}')["id"] == 36
    ((max_id,),) = database.query("SELECT max_id FROM segments WHERE app_tag = 'small'")
    assert max_id % 10 == 0


@pytest.mark.parametrize(
    ("queue", "body", "code", "text"),
    [
        ("id.alloc", b"", -2, "JSON"),
        ("id.alloc", b"no json", -2, "JSON"),
        ("id.alloc", b"\xff\xfe\x00", -2, "JSON"),
        ("id.alloc", b"[1]", -2, "object"),
        ("id.alloc", b"{}", -2, "need app_tag param"),
        ("id.alloc", b'{"app_tag":7}', -2, "app_tag"),
        ("id.alloc", b'{"app_tag":null}', -2, "app_tag"),
        ("id.alloc", b'{"app_tag":""}', -2, "app_tag"),
        ("id.alloc", b'{"app_tag":"%s"}' % (b"x" * 33), -2, "app_tag"),
        ("id.alloc", b'{"app_tag":"\' OR 1=1; --"}', -2, "app_tag"),
        ("id.alloc", '{"app_tag":"é"}'.encode(), -2, "app_tag"),
        ("id.alloc", b'{"app_tag":"a","count":0}', -2, "count"),
        ("id.alloc", b'{"app_tag":"a","count":-5}', -2, "count"),
        ("id.alloc", b'{"app_tag":"a","count":true}', -2, "count"),
        ("id.alloc", b'{"app_tag":"a","count":1.5}', -2, "count"),
        ("id.alloc", b'{"app_tag":"a","count":1000001}', -2, "count"),
        ("id.alloc", b'{"app_tag":"a","count":1%s}' % (b"0" * 40), -2, "count"),
        ("id.alloc", b"[" * 50_000, -2, "JSON"),
        ("id.alloc", b'{"app_tag":"' + b"x" * 10 * 2**20 + b'"}', -2, "larger"),
        ("id.alloc", b'{"app_tag":"missing"}', -3, "app_tag not found"),
        ("id.alloc", b'{"app_tag":"TEST_BUSINESS"}', -3, "app_tag not found"),
        ("id.alloc", b'{"app_tag":"\'--"}', -3, "app_tag not found"),
        ("id.health", b"no json", -2, "JSON"),
        ("id.health", b'{"app_tag":7}', -2, "app_tag"),
    ],
)
def test_bad_requests_are_answered(
    worker: ForeignClient, queue: str, body: bytes, code: int, text: str
) -> None:
    """Each gets its code and a message that says what is wrong, and good ones go on."""
    reply = ask(worker, body, queue, timeout=20)
    assert reply["resp_code"] == code
    assert text in reply["msg"]
    assert "id" not in reply
    assert ask(worker, b'{"app_tag":"test_business","future":"field"}')["resp_code"] == 0


@pytest.fixture
def worker(fleet: Fleet, caller: ForeignClient) -> ForeignClient:
    fleet.start()
    return caller


@pytest.mark.parametrize(
    "reply_to", [None, "", "id.alloc", "id.health", "amq.rabbitmq.reply-to.broken"]
)
def test_a_request_without_reply_address_uses_up_no_id(
    fleet: Fleet, worker: ForeignClient, reply_to: str | None
) -> None:
    """It is rejected without requeue, and the worker goes on."""
    for queue in ("id.alloc", "id.health"):
        worker.publish(queue, b'{"app_tag":"test_business"}', reply_to=reply_to)
    first = ask(worker, b'{"app_tag":"test_business"}')["id"]
    if reply_to is None or not reply_to.startswith("amq."):  # what looks like one is answered
        assert first == 1
    assert queue_depth(fleet.amqp_url, "id.alloc") == 0
    assert fleet.workers[0].running


def test_dead_letters_follow_the_policy(
    fleet: Fleet, worker: ForeignClient, management_url: str
) -> None:
    """A policy on the queue, not an argument of ours, decides where they go."""
    vhost = quote(urlsplit(fleet.amqp_url).path[1:], safe="%")
    Management(management_url).put(
        f"/api/policies/{vhost}/dead",
        {
            "pattern": "^id\\.alloc$",
            "apply-to": "queues",
            "definition": {"dead-letter-exchange": "", "dead-letter-routing-key": "grave"},
        },
    )
    with blocking_connection(fleet.amqp_url) as connection:
        channel = connection.channel()
        channel.queue_declare("grave")
        for _ in range(200):  # a policy applies some time after it was set
            worker.publish("id.alloc", b"whatever")
            method, _properties, body = channel.basic_get("grave", auto_ack=True)
            if method is not None:
                break
            time.sleep(0.05)
    assert body == b"whatever"
    assert ask(worker, b"{}", "id.health")["counters"]["dead_lettered"] >= 1


def test_headers_that_break_pika_do_not_break_the_worker(
    fleet: Fleet, worker: ForeignClient
) -> None:
    """A date beyond all clocks in a header would end pika's connection, again and again."""
    before = ask(worker, b"{}", "id.health")["counters"]["connects"]
    table = b"\x01tT" + struct.pack(">Q", 2**63)
    with blocking_connection(fleet.amqp_url) as connection:
        channel = connection.channel()
        replies = str(channel.queue_declare("", exclusive=True).method.queue)
        properties = RawHeaders(table, replies)
        channel.basic_publish("", "id.alloc", b'{"app_tag":"test_business"}', properties)
        assert json.loads(get(channel, replies))["resp_code"] == 0
    assert ask(worker, b"{}", "id.health")["counters"]["connects"] == before


class RawHeaders(pika.BasicProperties):
    """Properties whose header table is written as it is given."""

    MARKER = b"\x06markerS\x00\x00\x00\x01x"

    def __init__(self, table: bytes, reply_to: str) -> None:
        super().__init__(headers={"marker": "x"}, reply_to=reply_to)  # type: ignore[no-untyped-call]
        self._table = table

    def encode(self) -> Any:
        encoded = b"".join(super().encode())  # type: ignore[no-untyped-call]  # pika's
        old = struct.pack(">I", len(self.MARKER)) + self.MARKER
        assert old in encoded
        return [encoded.replace(old, struct.pack(">I", len(self._table)) + self._table)]


def test_expired_work_is_dropped(fleet: Fleet, caller: ForeignClient, database: Database) -> None:
    """A request whose caller is gone uses up no id, even if it waited inside the worker."""
    fleet.start()
    assert ask(caller, b'{"app_tag":"test_business"}')["id"] == 1
    fleet.workers[0].pause()
    try:
        for _ in range(50):  # they wait in the worker's socket, beyond the broker's reach
            caller.publish(
                "id.alloc",
                b'{"app_tag":"test_business"}',
                reply_to="gone",
                expiration="300",
            )
        time.sleep(1.0)  # not for the worker's sake: the callers' time passes
    finally:
        fleet.workers[0].resume()
    assert ask(caller, b'{"app_tag":"test_business"}')["id"] == 2


def test_a_deleted_queue_is_consumed_again(fleet: Fleet, worker: ForeignClient) -> None:
    """Basic.Cancel does not leave the worker idle: it declares the queue anew."""
    with blocking_connection(fleet.amqp_url) as connection:
        connection.channel().queue_delete("id.alloc")
    fleet.wait_ready(1)
    assert ask(worker, b'{"app_tag":"test_business"}')["id"] == 1


def test_a_connection_closed_by_an_operator_comes_back(
    fleet: Fleet, worker: ForeignClient, management_url: str
) -> None:
    """A broker-initiated close (320) is not the end."""
    management = Management(management_url)

    def workers() -> list[str]:
        return [
            connection["name"]
            for connection in management.get("/api/connections")
            if str(connection.get("user_provided_name")).startswith("idalloc worker")
            and connection["vhost"] == urlsplit(fleet.amqp_url).path[1:]
        ]

    wait_until(workers)  # the management database lags behind by some seconds
    management.delete(f"/api/connections/{quote(workers()[0], safe='')}")
    fleet.workers[0].wait_for_log("No connection to the broker")
    fleet.wait_ready(1)
    assert ask(worker, b'{"app_tag":"test_business"}')["resp_code"] == 0


def test_people_can_tell_who_is_connected(
    fleet: Fleet, worker: ForeignClient, management_url: str
) -> None:
    """Connections, channels and consumers name product, role, host and process."""
    vhost = urlsplit(fleet.amqp_url).path[1:]
    management = Management(management_url)

    def connected(role: str, pid: int) -> set[str]:
        names = {
            connection["user_provided_name"]
            for connection in management.get("/api/connections")
            if connection["vhost"] == vhost
            and connection["client_properties"].get("product") == "idalloc"
        }
        start, end = f"idalloc {role} {socket.gethostname()}", f":{pid}"
        return {name for name in names if name.startswith(start) and name.endswith(end)}

    def consumer_tags() -> set[str]:
        consumers = management.get(f"/api/consumers/{quote(vhost, safe='')}")
        return {consumer["consumer_tag"] for consumer in consumers}

    with IdClient(fleet.amqp_url) as client:
        client.next_id("test_business")
        wait_until(lambda: connected("client", os.getpid()))
        wait_until(lambda: connected("worker", fleet.workers[0].pid))
        [worker_name] = connected("worker", fleet.workers[0].pid)
        wait_until(lambda: {f"{worker_name} alloc", f"{worker_name} health"} <= consumer_tags())


def test_sigterm_drains(fleet: Fleet, worker: ForeignClient) -> None:
    """The exit status is 0 and the log says what is left unused."""
    ask(worker, b'{"app_tag":"test_business"}')
    assert fleet.workers[0].terminate() == 0
    assert "left unused" in fleet.workers[0].tail()
    assert consumer_counts(fleet.amqp_url) == (0, 0)


def test_what_cannot_be_answered_is_handed_back(
    fleet: Fleet, caller: ForeignClient, database: Database
) -> None:
    """Requests that wait when the worker stops are answered by the next one."""
    database.query("INSERT INTO segments (app_tag, max_id, step) VALUES ('slow', 0, 10)")
    fleet.start(wait_timeout=20, refill_timeout=20)
    with blocking_connection(fleet.amqp_url) as connection:
        channel = connection.channel()
        replies = str(channel.queue_declare("", exclusive=True).method.queue)
        properties = pika.BasicProperties(reply_to=replies)
        with _locked(database, "slow"):
            for _ in range(5):
                channel.basic_publish("", "id.alloc", b'{"app_tag":"slow"}', properties)
            _wait_for_waiters(caller, "slow", 5)
            assert fleet.workers[0].terminate() == 0
            assert queue_depth(fleet.amqp_url, "id.alloc") == 5
        fleet.start()
        bodies = [get(channel, replies) for _ in range(5)]
    assert sorted(json.loads(body)["id"] for body in bodies) == [1, 2, 3, 4, 5]


def test_a_request_is_handed_back_each_time(
    fleet: Fleet, caller: ForeignClient, database: Database
) -> None:
    """However many workers stop before one can answer it."""
    database.query("INSERT INTO segments (app_tag, max_id, step) VALUES ('slow', 0, 10)")
    with blocking_connection(fleet.amqp_url) as connection:
        channel = connection.channel()
        replies = str(channel.queue_declare("", exclusive=True).method.queue)
        properties = pika.BasicProperties(reply_to=replies)
        with _locked(database, "slow"):
            for _ in range(2):
                (worker,) = fleet.start(wait_timeout=20, refill_timeout=20)
                if worker is fleet.workers[0]:
                    channel.basic_publish("", "id.alloc", b'{"app_tag":"slow"}', properties)
                _wait_for_waiters(caller, "slow", 1)
                assert worker.terminate() == 0
        fleet.start()
        reply = json.loads(get(channel, replies))
    assert (reply["resp_code"], reply["id"]) == (0, 1)


def test_the_second_signal_forces(fleet: Fleet, worker: ForeignClient) -> None:
    """An operator who does not want to wait is obeyed at once."""
    fleet.workers[0].pause()
    fleet.workers[0].signal(signal.SIGTERM)
    fleet.workers[0].signal(signal.SIGINT)  # both are pending when it goes on
    fleet.workers[0].resume()
    assert fleet.workers[0].wait() == 1


def get(channel: Any, queue: str) -> bytes:
    """Wait for a message."""
    for _ in range(400):
        method, _properties, body = channel.basic_get(queue, auto_ack=True)
        if method is not None:
            return bytes(body)
        time.sleep(0.05)
    raise AssertionError(f"nothing came to {queue}")


@contextmanager
def _locked(database: Database, app_tag: str) -> Iterator[None]:
    """Hold the row of a tag, so that refills of it wait."""
    parts = urlsplit(database.server_url)
    connection = pymysql.connect(
        host=parts.hostname,
        port=parts.port or 3306,
        user=parts.username,
        password=parts.password or "",
        database=database.name,
    )
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT * FROM segments WHERE app_tag = %s FOR UPDATE", [app_tag])
        yield


def _wait_for_waiters(caller: ForeignClient, app_tag: str, count: int) -> None:
    body = json.dumps({"app_tag": app_tag}).encode()
    for _ in range(500):
        tags = ask(caller, body, "id.health").get("tags", [])
        if tags and tags[0]["waiters"] == count:
            return
        time.sleep(0.02)
    raise AssertionError(f"never {count} waiters: {tags}")


def test_a_crashed_process_is_started_again(fleet: Fleet, caller: ForeignClient) -> None:
    """With --processes, a child that dies is replaced; SIGTERM ends them all."""
    fleet.start(processes=2)
    victim = ask(caller, b"{}", "id.health")["worker"]
    os.kill(int(victim.rpartition(":")[2]), signal.SIGKILL)
    fleet.workers[0].wait_for_log("restarting")
    fleet.wait_ready(2)
    assert ask(caller, b'{"app_tag":"test_business"}')["resp_code"] == 0
    assert fleet.workers[0].terminate() == 0
    assert consumer_counts(fleet.amqp_url) == (0, 0)


def test_no_child_outlives_a_killed_supervisor(fleet: Fleet) -> None:
    """The children notice that their supervisor is gone, and drain."""
    fleet.start(processes=2)
    fleet.workers[0].kill()
    for _ in range(300):
        if consumer_counts(fleet.amqp_url) == (0, 0):
            return
        time.sleep(0.1)
    raise AssertionError("children still consume")
