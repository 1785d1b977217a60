"""What the broker remembers of a fleet: nobody has to be alive when the database is set back."""

import contextlib
import json
import secrets
import signal
import time
import urllib.error
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import pytest

from devstack import Database, Management
from devstack.workers import Fleet, Worker, blocking_connection
from idalloc_schemas import HealthReply, Marks, Reserved
from tests.foreign import ForeignClient

REQUEST = b'{"app_tag":"order"}'
STEP = 10
JUMPING_CLOCK = Path(__file__).parents[1] / "jumping_clock"


@pytest.fixture
def caller(fleet: Fleet, database: Database) -> Iterator[ForeignClient]:
    database.query("INSERT INTO segments (app_tag, max_id, step) VALUES ('order', 0, 10)")
    with ForeignClient(fleet.amqp_url) as client:
        yield client


def answer(caller: ForeignClient) -> dict[str, object]:
    reply = caller.call("id.alloc", REQUEST)
    assert reply is not None
    return dict(json.loads(reply[0]))


def next_id(caller: ForeignClient) -> int:
    reply = answer(caller)
    assert reply["resp_code"] == 0, reply
    return int(str(reply["id"]))


def health(caller: ForeignClient) -> HealthReply:
    reply = caller.call("id.health", b"{}")
    assert reply is not None
    return HealthReply.model_validate_json(reply[0])


def wait_for(caller: ForeignClient, done: Callable[[HealthReply], bool]) -> HealthReply:
    for _ in range(600):
        reply = health(caller)
        if done(reply):
            return reply
        time.sleep(0.05)
    raise AssertionError(reply)


def row(database: Database) -> int:
    [(mark,)] = database.query("SELECT max_id FROM segments WHERE app_tag = 'order'")
    return int(mark)


def set_row(database: Database, mark: int) -> None:
    database.query("UPDATE segments SET max_id = %s WHERE app_tag = 'order'", mark)


@contextmanager
def listening(amqp_url: str) -> Iterator[Callable[[], list[bytes]]]:
    """Hear what workers tell each other."""
    with blocking_connection(amqp_url) as connection:
        channel = connection.channel()
        queue = str(channel.queue_declare("", exclusive=True).method.queue)
        channel.exchange_declare("id.fleet", "fanout", durable=True)
        channel.queue_bind(queue, "id.fleet")

        def heard() -> list[bytes]:
            bodies = []
            while (message := channel.basic_get(queue, auto_ack=True))[0] is not None:
                bodies.append(bytes(message[2] or b""))
            return bodies

        yield heard


def say(amqp_url: str, body: bytes, exchange: str = "id.fleet", queue: str = "") -> None:
    with blocking_connection(amqp_url) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.basic_publish(exchange, queue, body)


def claims(bodies: list[bytes]) -> list[Reserved]:
    texts = [body for body in bodies if b'"type":"reserved"' in body]
    return [Reserved.model_validate_json(body) for body in texts]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_nobody_was_alive_when_the_row_was_set_back(
    fleet: Fleet, caller: ForeignClient, database: Database, how: signal.Signals
) -> None:
    """All workers were down, however they went, and none that starts meets one that knows."""
    workers = fleet.start(2)
    handed_out = {next_id(caller) for _ in range(6 * STEP)}
    for worker in workers:
        worker.signal(how)
    for worker in workers:
        worker.wait()
    set_row(database, row(database) - 5 * STEP)
    fleet.start(2)
    later = {next_id(caller) for _ in range(6 * STEP)}
    assert min(later) > max(handed_out)
    assert sum("was rolled back" in worker.tail() for worker in fleet.alive()) >= 1
    assert health(caller).marks == "broker"


def test_a_clean_restart_of_all_is_no_rewind(
    fleet: Fleet, caller: ForeignClient, database: Database
) -> None:
    """What was given back is no mark any more: the next worker goes on right there."""
    workers = fleet.start(2)
    last = max(next_id(caller) for _ in range(2 * STEP + 1))
    for worker in workers:
        worker.terminate()
    mark = row(database)
    assert last < mark
    fleet.start()
    assert next_id(caller) == mark
    assert "was rolled back" not in fleet.alive()[0].tail()


def test_the_one_that_knows_is_frozen(
    fleet: Fleet, caller: ForeignClient, database: Database
) -> None:
    """Whoever starts reads what it had claimed, and does not depend on its answer."""
    (frozen,) = fleet.start()
    handed_out = {next_id(caller) for _ in range(3)}
    frozen.pause()
    try:
        set_row(database, 0)
        (worker,) = fleet.start(ready=False)
        worker.wait_for_log("Serving")
        # What the frozen one was sent comes to nobody, and some are not answered in time.
        reply: dict[str, int] = {}
        while "id" not in reply:
            answer = caller.call("id.alloc", REQUEST, timeout=0.5)
            reply = json.loads(answer[0]) if answer is not None else {}
        assert reply["id"] > max(handed_out)
    finally:
        frozen.resume()


def test_only_what_came_through_the_exchange_counts(
    fleet: Fleet, caller: ForeignClient, database: Database
) -> None:
    """Any caller may write to the stream itself: that moves no mark."""
    fleet.start()
    assert next_id(caller) == 1
    forged = Reserved(worker="x", app_tag="order", left=0, right=10**9)
    say(fleet.amqp_url, forged.encode(), exchange="", queue="id.fleet.marks")
    fleet.alive()[0].terminate()
    fleet.start()
    assert next_id(caller) == 2
    assert row(database) < 10 * STEP


def test_where_the_broker_keeps_nothing_it_is_said(
    fleet: Fleet, caller: ForeignClient, database: Database
) -> None:
    """A queue of that name that is no stream: ids all the same, a log line, health, a counter."""
    with blocking_connection(fleet.amqp_url) as connection:
        connection.channel().queue_declare("id.fleet.marks", durable=True)
    (worker,) = fleet.start()
    assert next_id(caller) == 1
    found = wait_for(caller, lambda reply: reply.marks is not None)
    assert (found.marks, found.protected) == ("workers", True)
    assert found.counters["marks_unread"] == 1
    assert worker.tail().count("does not keep the marks") == 1
    # Without the stream, one that knows and lives is asked as before.
    fleet.start()
    worker.kill()
    mark = row(database)
    set_row(database, 0)
    assert next_id(caller) == mark


def test_an_overlap_that_is_heard_ends(
    fleet: Fleet, caller: ForeignClient, database: Database
) -> None:
    """Somebody claims ids that this worker has: it gives up its rest, says so and objects."""
    (worker,) = fleet.start()
    assert next_id(caller) == 1
    with listening(fleet.amqp_url) as heard:
        rival = Reserved(worker="rival", app_tag="order", left=0, right=STEP)
        say(fleet.amqp_url, rival.encode())
        found = wait_for(caller, lambda reply: reply.counters.get("overlaps_heard", 0) == 1)
        assert sum(tag.ids_lost for tag in found.tags) >= STEP - 2
        objections = [one for one in claims(heard()) if one.worker != "rival" and one.left < STEP]
        assert [(one.left, one.right) for one in objections] == [(1, STEP)]
    assert "may have gone out twice" in worker.tail()
    assert next_id(caller) >= STEP
    assert row(database) >= 2 * STEP


def test_a_copy_of_a_worker_makes_it_begin_anew(fleet: Fleet, caller: ForeignClient) -> None:
    """Somebody speaks under its key: what it holds may have been handed out by a copy of it."""
    with listening(fleet.amqp_url) as heard:
        fleet.start()
        assert next_id(caller) == 1
        wait_for(caller, lambda reply: len(reply.tags) == 1 and reply.tags[0].refills == 2)
        own = claims(heard())[-1]
        copied = own.model_copy(update={"left": own.right, "right": own.right + STEP})
        say(fleet.amqp_url, copied.encode())
        found = wait_for(caller, lambda reply: reply.counters.get("memory_set_back", 0) == 1)
        assert found.left == 0
        after = next_id(caller)
        assert after >= own.right
        assert claims(heard())[-1].worker != own.worker


def test_a_clock_that_jumped_makes_it_begin_anew(
    vhost: str, database: Database, tmp_path: Path
) -> None:
    """The wall clock knows of the time that a restored process does not: others used its ids."""
    jump = tmp_path / "jump"
    environment = {"PYTHONPATH": str(JUMPING_CLOCK), "IDALLOC_TEST_JUMP": str(jump)}
    with Fleet(vhost, database.url, environment) as fleet, ForeignClient(vhost) as caller:
        fleet.start()
        body = b'{"app_tag":"test_business"}'
        first = caller.call("id.alloc", body)
        assert first is not None
        assert json.loads(first[0])["id"] == 1
        jump.write_text("3600")
        found = wait_for(caller, lambda reply: reply.counters.get("memory_set_back", 0) == 1)
        assert found.left == 0
        later = caller.call("id.alloc", body)
        assert later is not None
        assert json.loads(later[0])["id"] >= 100_000


def test_a_queue_that_rejects_costs_no_ids(
    fleet: Fleet, caller: ForeignClient, management_url: str
) -> None:
    """What cannot be told is not reserved in vain; the worker goes on without, and says so."""
    vhost = quote(urlsplit(fleet.amqp_url).path[1:], safe="%")
    policy = f"/api/policies/{vhost}/reject"
    definition = {"max-length": 0, "overflow": "reject-publish"}
    Management(management_url).put(
        policy, {"pattern": "^id\\.fleet\\..*", "definition": definition, "apply-to": "queues"}
    )
    (worker,) = fleet.start()
    assert [next_id(caller) for _ in range(3 * STEP)] == list(range(1, 3 * STEP + 1))
    found = health(caller)
    assert found.tags[0].ids_lost == 0
    assert found.counters["fleet_refused"] == 1
    assert found.counters["fleet_joins"] < 10
    assert worker.tail().count("not protected") == 1


def test_a_user_that_may_not_read_the_exchange_leaves_one_queue(
    fleet: Fleet, caller: ForeignClient, management_url: str
) -> None:
    """The binding is refused after the queue was declared, at each attempt."""
    management, user = Management(management_url), f"idalloc-{secrets.token_hex(4)}"
    with blocking_connection(fleet.amqp_url) as connection:
        channel = connection.channel()
        for queue in ("id.alloc", "id.health"):
            channel.queue_declare(queue, durable=True)
        channel.exchange_declare("id.fleet", "fanout", durable=True)
    parts = urlsplit(fleet.amqp_url)
    vhost = quote(parts.path[1:], safe="%")
    management.put(f"/api/users/{user}", {"password": "pw", "tags": ""})
    try:
        rights = {
            "configure": "^id\\.fleet\\..+$",
            "write": "^(amq\\.default|id\\.fleet.*)$",
            "read": "^id\\.(alloc|health|fleet\\..+)$",
        }
        management.put(f"/api/permissions/{vhost}/{user}", rights)
        url = parts._replace(netloc=f"{user}:pw@{parts.netloc.rpartition('@')[2]}").geturl()
        with Fleet(url, fleet.mysql_url) as refused:
            (worker,) = refused.start(ready=False, log_level="debug")
            worker.wait_for_log("Serving")
            assert next_id(caller) == 1
            wait_for_attempts(worker, 4)
            names = [each["name"] for each in management.get(f"/api/queues/{vhost}")]
        fleets = [name for name in names if name.startswith("id.fleet.")]
        assert len([name for name in fleets if not name.startswith("id.fleet.health.")]) <= 1
        assert len(fleets) <= 2
    finally:
        management.delete(f"/api/users/{user}")


def wait_for_attempts(worker: Worker, number: int) -> None:
    for _ in range(600):
        if worker.log.read_text().count("Received remote Channel.Close (403)") >= number:
            return
        time.sleep(0.05)
    raise AssertionError(worker.tail())


def test_a_tag_waits_for_an_operator_where_nobody_vouches_for_it(
    fleet: Fleet, caller: ForeignClient, database: Database
) -> None:
    """Broker and database are both as of long ago; `order` is raised, the other tag is not."""
    set_row(database, 500)
    (worker,) = fleet.start(marks_max_age=300)
    refused = answer(caller)
    assert refused["resp_code"] == -1
    assert "worker's log" in str(refused["msg"])
    worker.wait_for_log("tags raise")
    set_row(database, 700)  # as `idalloc tags raise` does
    for _ in range(100):
        if (reply := answer(caller))["resp_code"] == 0:
            break
        time.sleep(0.1)
    assert reply["id"] == 700
    fleet.workers[0].terminate()
    fleet.start(marks_max_age=300)  # `order` was claimed just now, the other tag was not
    assert next_id(caller) == 701
    other = caller.call("id.alloc", b'{"app_tag":"test_business"}')
    assert other is not None
    assert json.loads(other[0])["resp_code"] == -1


def test_a_snapshot_is_written_where_there_is_none(fleet: Fleet, caller: ForeignClient) -> None:
    """Whoever deletes the stream loses what it held; those who know write it down again."""
    fleet.start()
    assert next_id(caller) == 1
    with blocking_connection(fleet.amqp_url) as connection:
        connection.channel().queue_delete("id.fleet.marks")
    with listening(fleet.amqp_url) as heard:
        fleet.start()
        for _ in range(200):
            told = [body for body in heard() if b'"part":0' in body]
            if told:
                break
            time.sleep(0.05)
        entries = Marks.model_validate_json(told[0]).entries
        assert [entry[0] for entry in entries] == ["order"]


def test_a_deleted_exchange_leaves_nobody_deaf(
    fleet: Fleet, caller: ForeignClient, management_url: str
) -> None:
    """One worker makes it anew; the queues of the others are not bound to that."""
    fleet.start(3)
    with blocking_connection(fleet.amqp_url) as connection:
        connection.channel().exchange_delete("id.fleet")
    vhost = quote(unquote(urlsplit(fleet.amqp_url).path[1:]), safe="")
    bindings = f"/api/exchanges/{vhost}/id.fleet/bindings/source"
    bound: set[str] = set()
    for _ in range(100):
        for _ in range(30):
            next_id(caller)
        with contextlib.suppress(urllib.error.HTTPError):  # it is not there yet
            found = Management(management_url).get(bindings)
            bound = {binding["destination"] for binding in found}
        if len(bound) == 4:
            break
        time.sleep(0.1)
    assert len(bound - {"id.fleet.marks"}) == 3
