"""Ordered tags on real workers: one owner answers, whoever was asked."""

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from devstack import Database, Management
from devstack.ordered import Owners, WorkerUser, add_ordered_tag, make_columns
from devstack.workers import Fleet, blocking_connection
from idalloc_client import AsyncIdClient, IdClient
from idalloc_schemas import AllocRequest
from idalloc_worker.ordered._bundles import OrderedRequest, encode_bundle
from idalloc_worker.tags._partitions import (
    QUEUE_ARGUMENTS,
    QUEUES,
    QUORUM_ARGUMENTS,
    partition_of,
)
from tests.foreign import ForeignClient

TAG = "test_business"
Reply = dict[str, Any]


@pytest.fixture
def caller(vhost: str) -> Iterator[ForeignClient]:
    with ForeignClient(vhost) as client:
        yield client


def ask(
    caller: ForeignClient, app_tag: str, count: int = 1, queue: str = "id.alloc"
) -> tuple[Reply, Any]:
    body = json.dumps({"app_tag": app_tag, "count": count}).encode()
    answer = caller.call(queue, body)
    assert answer is not None, "no reply"
    reply: Reply = json.loads(answer[0])
    return reply, answer[1]


def test_one_worker_answers_in_order_whoever_is_asked(
    fleet: Fleet, caller: ForeignClient, database: Database, management_url: str
) -> None:
    """Ids come without a gap, all from the owner of the partition, with the same contract."""
    add_ordered_tag(database, "order", step=10)
    fleet.start(3)
    owner = Owners(management_url, fleet.amqp_url).worker_of("order")
    ids: list[int] = []
    for _ in range(40):
        reply, properties = ask(caller, "order")
        assert reply["resp_code"] == 0, reply
        assert properties.app_id == owner
        ids.append(reply["id"])
    assert ids == list(range(1, 41))
    reply, _ = ask(caller, "order", 25)
    assert reply["ranges"] == [[41, 66]]


@pytest.mark.parametrize("correlation_id", ['é"\\\u2028', b"\xff\x00\xe9"])
def test_properties_that_are_no_text_come_back_unchanged(
    fleet: Fleet, caller: ForeignClient, database: Database, correlation_id: str | bytes
) -> None:
    """A correlation id of any bytes survives the way to the owner."""
    add_ordered_tag(database, "order")
    fleet.start()
    answer = caller.call("id.alloc", b'{"app_tag":"order"}', correlation_id=correlation_id)
    assert answer is not None
    assert answer[1].correlation_id == correlation_id


@pytest.mark.long
def test_a_row_that_becomes_ordered(
    fleet: Fleet, caller: ForeignClient, database: Database, management_url: str
) -> None:
    """Each worker drops what it holds, and then all ids come from the owner, above all others."""
    make_columns(database)
    fleet.start(2)
    before = [ask(caller, TAG) for _ in range(10)]
    assert len({properties.app_id for _, properties in before}) == 2
    database.query("UPDATE segments SET ordered = 1")
    for worker in fleet.workers:
        worker.wait_for_log("test_business is ordered")
    owner = Owners(management_url, fleet.amqp_url).worker_of(TAG)
    ids = []
    for _ in range(10):
        reply, properties = ask(caller, TAG)
        assert properties.app_id == owner
        ids.append(reply["id"])
    assert ids == list(range(ids[0], ids[0] + 10))
    assert ids[0] > max(reply["id"] for reply, _ in before)
    for tag in healths(caller, fleet):
        assert tag["ids_reserved"] == tag["ids_handed_out"] + tag["left"] + tag["ids_lost"]


def test_health_says_where_an_ordered_tag_is(
    fleet: Fleet, caller: ForeignClient, database: Database
) -> None:
    """Its owner tells what it holds; another worker that it stands by. Both are healthy."""
    add_ordered_tag(database, "order")
    fleet.start(2)
    assert ask(caller, "order")[0]["id"] == 1
    tags = {tag["state"]: tag for tag in healths(caller, fleet, "order")}
    assert set(tags) == {"ready", "standby"}
    assert tags["ready"]["ids_handed_out"] == 1
    assert tags["standby"]["left"] == 0
    assert {tag["partition"] for tag in tags.values()} == {partition_of("order")}


def test_a_worker_without_rights_refuses_ordered_tags_and_serves_the_others(
    vhost: str, database: Database, management_url: str, caller: ForeignClient
) -> None:
    """It says what it lacks; once it has it, it serves them without a restart."""
    add_ordered_tag(database, "order")
    with WorkerUser(management_url, vhost) as user, Fleet(user.amqp_url, database.url) as fleet:
        user.may(read="^id\\.(alloc|health)$", configure="^id\\.(alloc|health)$")
        fleet.start(1, ready=False)
        fleet.workers[0].wait_for_log("does not serve ordered tags")
        assert ask(caller, TAG)[0]["id"] == 1
        reply, _ = ask(caller, "order")
        assert reply["resp_code"] == -1, reply
        assert "retry_after_ms" in reply
        assert "id" not in reply
        user.may(read="^id\\.", configure="^id\\.")
        fleet.workers[0].wait_for_log("Ready for ordered tags")
        assert ask(caller, "order")[0]["id"] == 1


def test_least_privilege_is_enough(
    vhost: str, database: Database, management_url: str, caller: ForeignClient
) -> None:
    """A worker that may not declare consumes queues that somebody else declared."""
    add_ordered_tag(database, "order")
    with blocking_connection(vhost) as connection:
        channel = connection.channel()
        for queue in ("id.alloc", "id.health"):
            channel.queue_declare(queue, durable=True)
        for queue in QUEUES:
            channel.queue_declare(queue, durable=True, arguments=QUEUE_ARGUMENTS)
    with WorkerUser(management_url, vhost) as user, Fleet(user.amqp_url, database.url) as fleet:
        user.may(read="^id\\.(alloc|health|ordered\\.[0-7])$")
        fleet.start(1, ready=False)
        fleet.workers[0].wait_for_log("Ready for ordered tags")
        assert ask(caller, "order")[0]["id"] == 1


@pytest.fixture
def quorum_queues(vhost: str) -> None:
    """Have somebody make them; that of health is missing."""
    with blocking_connection(vhost) as connection:
        channel = connection.channel()
        channel.queue_declare("id.alloc", durable=True, arguments={"x-queue-type": "quorum"})
        for queue in QUEUES:
            channel.queue_declare(queue, durable=True, arguments=QUORUM_ARGUMENTS)


@pytest.mark.usefixtures("quorum_queues")
@pytest.mark.parametrize("configure", [r"^id\.", r"^id\.(health|fleet.*)$"])
def test_quorum_queues_are_taken_as_they_are(
    vhost: str, database: Database, management_url: str, caller: ForeignClient, configure: str
) -> None:
    """Whether a worker may declare or not: it learns what they are, and serves them in order.

    A worker that stops gives back what it holds, as on classic queues, and the next one goes on.
    """
    add_ordered_tag(database, "order", step=100)
    with WorkerUser(management_url, vhost) as user, Fleet(user.amqp_url, database.url) as fleet:
        user.may(read=r"^id\.", configure=configure)
        ids = []
        for _ in range(2):
            (worker,) = fleet.start(1, ready=False)
            worker.wait_for_log("Serving")
            worker.wait_for_log("Ready for ordered tags")
            ids += [ask(caller, "order")[0]["id"] for _ in range(5)]
            assert worker.terminate() == 0
        assert ids == list(range(1, 11))
        here = quote(urlsplit(vhost).path[1:], safe="")
        consumers = Management(management_url).get(f"/api/consumers/{here}")
        assert "x-priority" not in str(consumers)


@pytest.mark.long
@pytest.mark.usefixtures("quorum_queues")
def test_an_owner_that_is_stopped_passes_on_what_it_was_asked(
    fleet: Fleet, database: Database, caller: ForeignClient, management_url: str
) -> None:
    """Its partitions go to the next one with all that is unanswered, and its connection lives."""
    add_ordered_tag(database, "order", step=10)
    owners = Owners(management_url, fleet.amqp_url)
    (first,) = fleet.start(1, ready=False)
    first.wait_for_log("Ready for ordered tags")
    assert ask(caller, "order")[0]["id"] == 1
    before = owners.worker_of("order")
    (second,) = fleet.start(1, ready=False)
    second.wait_for_log("Ready for ordered tags")
    assert first.terminate() == 0
    owners.wait_for_other_than(before, "order")
    assert ask(caller, "order")[0]["id"] > 1


@pytest.mark.parametrize(
    "arguments", [{}, {"x-queue-type": "quorum", "x-single-active-consumer": True}]
)
def test_a_queue_that_could_have_two_owners_is_not_used(
    fleet: Fleet, database: Database, caller: ForeignClient, arguments: dict[str, Any]
) -> None:
    """The worker says so, and gives no ids of ordered tags until it is put right."""
    add_ordered_tag(database, "order")
    with blocking_connection(fleet.amqp_url) as connection:
        connection.channel().queue_declare(QUEUES[3], durable=True, arguments=arguments)
    fleet.start()
    fleet.workers[0].wait_for_log("delete the queue")
    assert ask(caller, "order")[0]["resp_code"] == -1
    assert ask(caller, TAG)[0]["id"] == 1
    with blocking_connection(fleet.amqp_url) as connection:
        connection.channel().queue_delete(QUEUES[3])
    fleet.workers[0].wait_for_log("Ready for ordered tags")
    assert ask(caller, "order")[0]["id"] == 1


def test_a_partition_whose_queue_is_deleted_comes_back(
    fleet: Fleet, database: Database, caller: ForeignClient
) -> None:
    """The generation ends with its consumer; the next one gives higher ids."""
    add_ordered_tag(database, "order", step=100)
    fleet.start()
    assert ask(caller, "order")[0]["id"] == 1
    with blocking_connection(fleet.amqp_url) as connection:
        connection.channel().queue_delete(QUEUES[partition_of("order")])
    for _ in range(100):  # until the queue is back
        reply, _ = ask(caller, "order")
        if reply["resp_code"] == 0:
            break
        assert reply["resp_code"] == -1, reply
        time.sleep(0.1)
    assert reply["id"] >= 200
    (health,) = healths(caller, fleet, "order")
    assert health["ids_lost"] >= 198


def test_an_owner_that_stops_gives_back_what_it_holds(
    fleet: Fleet, database: Database, caller: ForeignClient
) -> None:
    """Nobody has reserved since: the next owner goes on with the very next id."""
    add_ordered_tag(database, "order", step=100)
    fleet.start()
    assert ask(caller, "order", 7)[0]["ranges"] == [[1, 8]]
    for _ in range(400):  # until the second segment is there
        (health,) = healths(caller, fleet, "order")
        if len(health["segments"]) == 2:
            break
        time.sleep(0.05)
    assert fleet.workers[0].terminate() == 0
    assert database.query("SELECT max_id FROM segments WHERE app_tag = 'order'") == [(8,)]
    fleet.start()
    assert ask(caller, "order")[0]["id"] == 8


def test_a_caller_goes_on_with_the_owner_itself(fleet: Fleet, database: Database) -> None:
    """Whoever gets the first request, the others save the way through it; the ids have no gap."""
    add_ordered_tag(database, "order", step=10)
    fleet.start(3)
    with IdClient(fleet.amqp_url) as client:
        assert [client.next_id("order") for _ in range(50)] == list(range(1, 51))
        counters = [health.counters for health in client.fleet_health()]
    assert sum(each.get("forwarded", 0) for each in counters) == 1
    assert sum(each.get("owned", 0) for each in counters) == 50


def test_a_caller_whose_owners_queue_is_deleted(fleet: Fleet, database: Database) -> None:
    """Its request comes back from the broker, and goes to any worker."""
    add_ordered_tag(database, "order", step=100)
    fleet.start()
    with IdClient(fleet.amqp_url, timeout=30.0) as client:
        assert [client.next_id("order") for _ in range(2)] == [1, 2]
        with blocking_connection(fleet.amqp_url) as connection:
            connection.channel().queue_delete(QUEUES[partition_of("order")])
        assert client.next_id("order") >= 200


def test_a_request_at_an_owners_queue_is_like_one_at_id_alloc(
    fleet: Fleet, database: Database, caller: ForeignClient, amqp_url: str
) -> None:
    """It has the same checks and errors; what does not belong there is answered as well."""
    user = urlsplit(amqp_url).username
    add_ordered_tag(database, "order", users=f"somebody {user}")
    fleet.start(2)
    queue = QUEUES[partition_of("order")]

    def direct(body: bytes, where: str = queue, **properties: Any) -> Reply:
        answer = caller.call(where, body, type="id.alloc.request", **properties)
        assert answer is not None
        reply: Reply = json.loads(answer[0])
        return reply

    first = direct(b'{"app_tag":"order"}', user_id=user)
    assert (first["ranges"], first["queue"]) == ([[1, 2]], queue)
    assert direct(b'{"app_tag":"order"}')["resp_code"] == -5
    assert direct(b'{"app_tag":"order","count":0}')["resp_code"] == -2
    assert direct(b'{"app_tag":"missing"}')["resp_code"] == -3
    ordinary = direct(b'{"app_tag":"%s"}' % TAG.encode())
    assert ordinary["resp_code"] == 0
    assert "queue" not in ordinary
    elsewhere = QUEUES[(partition_of("order") + 1) % 8]
    assert direct(b'{"app_tag":"order"}', elsewhere, user_id=user)["resp_code"] == -2


@pytest.mark.parametrize("body", [b"", b"{}", b'{"requests":[["made-up",0,"r",null,null]]}'])
def test_what_callers_send_to_an_owner_is_dead_lettered(
    fleet: Fleet, database: Database, caller: ForeignClient, body: bytes
) -> None:
    """Whoever may ask for ids can publish to any queue; it does no harm."""
    add_ordered_tag(database, "order")
    fleet.start()
    assert ask(caller, "order")[0]["id"] == 1
    caller.publish(QUEUES[partition_of("order")], body, reply_to="id.alloc")
    assert ask(caller, "order")[0]["id"] == 2
    counters = counters_of(caller)
    assert counters["dead_lettered"] == 1


def test_only_workers_are_believed_on_who_asked(
    fleet: Fleet, database: Database, caller: ForeignClient, amqp_url: str, management_url: str
) -> None:
    """A tag for certain users gets them from the broker, or from a worker that got them from it."""
    user = urlsplit(amqp_url).username
    add_ordered_tag(database, "order", users=f"somebody {user}")
    fleet.start()
    body = b'{"app_tag":"order"}'
    answer = caller.call("id.alloc", body, user_id=user)
    assert answer is not None
    assert json.loads(answer[0])["id"] == 1
    answer = caller.call("id.alloc", body)
    assert answer is not None
    assert json.loads(answer[0])["resp_code"] == -5
    with blocking_connection(fleet.amqp_url) as connection:
        channel = connection.channel()
        replies = str(channel.queue_declare("", exclusive=True).method.queue)
        wanted = AllocRequest(app_tag="order")
        claim = OrderedRequest(wanted, replies.encode(), b"c", b"somebody")
        channel.basic_publish("", QUEUES[partition_of("order")], encode_bundle([claim]))
        for _ in range(600):
            if counters_of(caller).get("foreign_messages"):
                break
            time.sleep(0.05)
        assert counters_of(caller)["foreign_messages"] == 1
        assert channel.basic_get(replies) == (None, None, None)


def healths(caller: ForeignClient, fleet: Fleet, app_tag: str = TAG) -> list[Reply]:
    """Ask until each worker has told once how it stands with a tag."""
    found: dict[str, Reply] = {}
    for _ in range(500):
        reply, properties = ask(caller, app_tag, queue="id.health")
        found[properties.app_id] = reply["tags"][0]
        if len(found) == len(fleet.alive()):
            return list(found.values())
    raise AssertionError("some workers do not answer")


def counters_of(caller: ForeignClient) -> dict[str, int]:
    answer = caller.call("id.health", b"{}")
    assert answer is not None
    counters: dict[str, int] = json.loads(answer[0])["counters"]
    return counters


def test_a_user_of_many_ordered_tags_hears_of_each(fleet: Fleet, database: Database) -> None:
    """However many of its requests an owner reads at once."""
    tags = [f"order-{number}" for number in range(300)]
    make_columns(database)
    rows = ",".join(f"('{app_tag}', 0, 1000, 1)" for app_tag in tags)
    database.query(f"INSERT INTO segments (app_tag, max_id, step, ordered) VALUES {rows}")
    fleet.start()

    async def draw_all(times: int) -> list[list[int]]:
        async with AsyncIdClient(fleet.amqp_url) as client:
            return [await asyncio.gather(*map(client.next_id, tags)) for _ in range(times)]

    assert asyncio.run(draw_all(2)) == [[1] * 300, [2] * 300]
