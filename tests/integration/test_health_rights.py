"""What a caller with a caller's rights learns from `id.health`, and what operators do."""

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import pika
import pytest

from devstack import Database, Management
from devstack.ordered import make_columns
from devstack.workers import Fleet, blocking_connection
from idalloc_client import ForbiddenError, IdClient
from tests.foreign import ForeignClient

Reply = dict[str, Any]
SHOP, OTHER = "for-shop", "for-others"


class Callers:
    """Two users with the rights of a caller, `shop` and another one."""

    def __init__(self, management_url: str, amqp_url: str) -> None:
        self._management = Management(management_url)
        self._parts = urlsplit(amqp_url)
        suffix = secrets.token_hex(4)
        self.shop, self.other = f"shop-{suffix}", f"other-{suffix}"
        vhost = quote(unquote(self._parts.path[1:]), safe="")
        for name in (self.shop, self.other):
            self._management.put(f"/api/users/{name}", {"password": "pw", "tags": ""})
            rights = {"configure": "^$", "write": "^amq\\.default$", "read": "^$"}
            self._management.put(f"/api/permissions/{vhost}/{name}", rights)

    def url(self, name: str) -> str:
        address = self._parts.netloc.rpartition("@")[2]
        return self._parts._replace(netloc=f"{name}:pw@{address}").geturl()

    def remove(self) -> None:
        for name in (self.shop, self.other):
            self._management.delete(f"/api/users/{name}")


@pytest.fixture
def callers(vhost: str, management_url: str) -> Iterator[Callers]:
    made = Callers(management_url, vhost)
    yield made
    made.remove()


@pytest.fixture
def worker_user(vhost: str) -> str:
    return urlsplit(vhost).username or ""


def add(database: Database, app_tag: str, user: str | None = None, **columns: object) -> None:
    make_columns(database)
    given = {"app_tag": app_tag, "max_id": 0, "step": 1000, "allowed_users": user} | columns
    names = ", ".join(given)
    marks = ", ".join("%s" for _ in given)
    database.query(f"INSERT INTO segments ({names}) VALUES ({marks})", *given.values())


def ask(caller: ForeignClient, user: str | None = None, **question: object) -> Reply:
    answer = caller.call("id.health", json.dumps(question).encode(), user_id=user)
    assert answer is not None
    reply: Reply = json.loads(answer[0])
    return reply


def draw(url: str, app_tag: str) -> None:
    with IdClient(url) as client:
        assert client.next_id(app_tag, timeout=30) >= 1


def wait_for_second_segments(amqp_url: str, operator: str) -> None:
    """From here on what is told stays as it is: tags are counted first, and described later."""
    with ForeignClient(amqp_url) as caller:
        while any(tag["refills"] < 2 for tag in ask(caller, operator)["tags"]):
            time.sleep(0.02)


@pytest.mark.parametrize("fleet_asked", [False, True])
def test_who_may_not_draw_learns_nothing_of_a_tag(
    fleet: Fleet, database: Database, callers: Callers, worker_user: str, *, fleet_asked: bool
) -> None:
    """Neither by its name nor in a list, from one worker or from all; operators learn all."""
    asked = {"fleet": True} if fleet_asked else {}
    add(database, SHOP, callers.shop)
    add(database, OTHER, f"nobody {worker_user}")
    fleet.start()
    draw(callers.url(callers.shop), SHOP)
    draw(fleet.amqp_url, OTHER)
    draw(fleet.amqp_url, "test_business")
    wait_for_second_segments(fleet.amqp_url, worker_user)
    for name, listed in (
        (callers.other, ["test_business"]),
        (callers.shop, [SHOP, "test_business"]),
    ):
        for user in (name, None):
            with ForeignClient(callers.url(name)) as caller:
                told = ask(caller, user, **asked)
                expected = listed if user else ["test_business"]
                assert [tag["app_tag"] for tag in told["tags"]] == expected
                assert told["tags_total"] == len(expected)
                assert told["left"] == sum(tag["left"] for tag in told["tags"])
                one = ask(caller, user, app_tag=SHOP, **asked)
                assert one["resp_code"] == (0 if SHOP in expected else -5)
                assert "left" in one or set(one) == {"resp_code", "msg"}
                assert ask(caller, user, app_tag=OTHER, **asked)["resp_code"] == -5
    with ForeignClient(fleet.amqp_url) as operator:
        told = ask(operator, worker_user, **asked)
        assert [tag["app_tag"] for tag in told["tags"]] == [OTHER, SHOP, "test_business"]


def test_what_failed_is_told_to_operators(
    fleet: Fleet, database: Database, callers: Callers, worker_user: str
) -> None:
    """Callers are told that, and where it stands; not the names of database, table and trigger."""
    add(database, "order")
    database.query("RENAME TABLE segments TO elsewhere")
    (worker,) = fleet.start(operators=f"somebody,{callers.shop}")
    names = (database.name, "segments'", "1146")
    with ForeignClient(callers.url(callers.other)) as caller:
        answer = caller.call("id.alloc", b'{"app_tag":"order"}', user_id=callers.other)
        assert answer is not None
        assert json.loads(answer[0]) | {"retry_after_ms": 0} == {
            "resp_code": -1,
            "msg": "no available id",
            "retry_after_ms": 0,
        }
        for question in ({"app_tag": "order"}, {}, {"fleet": True, "app_tag": "order"}):
            for user in (callers.other, None):
                text = json.dumps(ask(caller, user, **question))
                assert not any(name in text for name in names)
    for url, user in ((callers.url(callers.shop), callers.shop), (fleet.amqp_url, worker_user)):
        with ForeignClient(url) as operator:
            tag: dict[str, str] = {}
            while "last_error" not in tag:  # a worker forgets a tag that nobody asks for
                operator.call("id.alloc", b'{"app_tag":"order"}', user_id=user)
                (tag,) = ask(operator, user, app_tag="order")["tags"]
            assert database.name in tag["last_error"]
    worker.wait_for_log(database.name)


@pytest.mark.long
def test_our_clients_say_who_they_are(
    fleet: Fleet, database: Database, callers: Callers, worker_user: str
) -> None:
    """The commands too: with the workers' own URL they show everything."""
    add(database, OTHER, worker_user)
    fleet.start(2)
    draw(fleet.amqp_url, OTHER)
    with IdClient(callers.url(callers.other)) as client:
        with pytest.raises(ForbiddenError):  # one of the workers, at least, has read the row
            client.fleet_health(OTHER)
        assert not any(reply.tags for reply in client.fleet_health())
    environment = {**os.environ, "IDALLOC_AMQP_URL": fleet.amqp_url}
    for command in (["health", "--fleet"], ["health"], ["health", OTHER], ["top", "--once"]):
        run = subprocess.run(
            [sys.executable, "-m", "idalloc_worker", *command],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert OTHER in run.stdout or command == ["health"]


def test_a_queue_that_nobody_reads_gets_little(
    fleet: Fleet, database: Database, callers: Callers
) -> None:
    """A flood of questions of some bytes does not fill the broker, whatever the reply queue."""
    names = [f"tag-{number:04}" for number in range(300)]
    rows = ", ".join(f"('{name}', 0, 100)" for name in names)
    database.query(f"INSERT INTO segments (app_tag, max_id, step) VALUES {rows}")
    fleet.start()
    with IdClient(fleet.amqp_url) as client:
        for name in names:
            client.next_id(name, timeout=30)
    with blocking_connection(fleet.amqp_url) as connection:
        connection.channel().queue_declare("unread", durable=True)
    began = time.monotonic()
    with ForeignClient(callers.url(callers.other)) as caller:
        for _ in range(3000):
            caller.publish("id.health", b'{"fleet":true}', reply_to="unread")
        # All of them are dealt with by then: this one goes the same way, for another user.
        counted = ask(caller, callers.other, fleet=True)["counters"]
    took = time.monotonic() - began
    assert counted["dropped"] > 1000
    # What a user may have: two seconds' worth at once, and the last answer may overdraw it.
    assert 0 < bytes_in(fleet.amqp_url, "unread") < 200_000 * (took + 2) + 200_000
    with blocking_connection(fleet.amqp_url) as connection:
        _, properties, _ = connection.channel().basic_get("unread")
        assert properties is not None
        assert int(properties.expiration) <= 30_000, "it stays there for good"


def bytes_in(amqp_url: str, queue: str) -> int:
    """Tell the bytes of all messages in a queue, by reading them: statistics come late."""
    total = 0
    with blocking_connection(amqp_url) as connection:
        channel = connection.channel()
        while True:
            _, _, body = channel.basic_get(queue)  # they come back with the channel's end
            if body is None:
                return total
            total += len(body)


def test_an_older_worker_passes_questions_on_for_nobody(
    fleet: Fleet, database: Database, callers: Callers, worker_user: str
) -> None:
    """In a rolling upgrade they come through `id.fleet`, and do not say who asked."""
    add(database, SHOP, callers.shop)
    fleet.start()
    draw(callers.url(callers.shop), SHOP)
    draw(fleet.amqp_url, "test_business")
    with blocking_connection(fleet.amqp_url) as connection:
        channel = connection.channel()
        replies = str(channel.queue_declare("", exclusive=True).method.queue)
        asked = {"type": "health", "v": 1, "worker": "old", "reply_to": replies}
        by_worker = pika.BasicProperties(user_id=worker_user)
        for more in ({}, {"app_tag": SHOP}, {"user": worker_user}):
            channel.basic_publish("id.fleet", "", json.dumps(asked | more).encode(), by_worker)
        answers = [json.loads(body) for _, _, body in islice(channel.consume(replies), 3) if body]
    lists = [[tag["app_tag"] for tag in answer["tags"]] for answer in answers if "tags" in answer]
    assert lists == [["test_business"], ["test_business"]]
    assert [answer["resp_code"] for answer in answers if "tags" not in answer] == [-5]


def test_the_queue_of_the_fleets_questions_is_no_way_in(
    fleet: Fleet, callers: Callers, management_url: str
) -> None:
    """Who knows its name may write to it, and nobody listens."""
    fleet.start()
    management = Management(management_url)
    vhost = urlsplit(fleet.amqp_url).path[1:]
    while True:
        queues = [each["name"] for each in management.get(f"/api/queues/{vhost}")]
        found = [name for name in queues if name.startswith("id.fleet.health.")]
        if found:
            break
        time.sleep(0.1)
    forged = b'{"type":"health","worker":"w","reply_to":"unread","user":"%s"}'
    user = (urlsplit(fleet.amqp_url).username or "").encode()
    with blocking_connection(fleet.amqp_url) as connection:
        connection.channel().queue_declare("unread", durable=True)
        with blocking_connection(callers.url(callers.other)) as hostile:
            channel = hostile.channel()
            channel.confirm_delivery()
            channel.basic_publish("", found[0], forged % user, pika.BasicProperties())
        with ForeignClient(fleet.amqp_url) as caller:
            assert ask(caller, fleet=True)["resp_code"] == 0  # through the same queue, after it
        assert connection.channel().basic_get("unread")[0] is None
