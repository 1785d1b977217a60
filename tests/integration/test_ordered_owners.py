"""Owners of ordered tags that lose their partition by no fault of theirs, or give it up."""

import json
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from devstack import Database, PrivateRabbitMq, TcpProxy
from devstack.ordered import Owners, add_ordered_tag, next_id
from devstack.workers import Fleet, Worker, through
from idalloc_worker.tags._partitions import PARTITIONS, partition_of, precedence
from tests.foreign import ForeignClient
from tests.waiting import wait_until

KILL = """\
{{ok, Queue}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"{vhost}">>, queue, <<"{queue}">>)),
exit(amqqueue:get_pid(Queue), kill)."""
READY = "Ready for ordered tags"
DROPPED = "others have reserved above them"


@pytest.mark.long
def test_the_process_of_a_partition_s_queue_is_restarted(
    own_rabbitmq: PrivateRabbitMq, database: Database
) -> None:
    """Nobody knows who gets the partition then, so whoever does begins above all that was reserved.

    Twice: RabbitMQ 3 may give the queue to another worker, and the next time back to the first.
    """
    add_ordered_tag(database, "order", step=1000)
    with Fleet(own_rabbitmq.url, database.url) as fleet, ForeignClient(own_rabbitmq.url) as caller:
        for worker in fleet.start(2):
            worker.wait_for_log(READY)
        assert next_id(caller, "order") == 1
        for _ in range(2):
            reserved = mark_of(database, "order")
            kill_queue(own_rabbitmq, "id.ordered.0")
            assert next_id(caller, "order") >= reserved


def test_a_clean_stop_has_nothing_to_complain_of(
    fleet: Fleet, database: Database, vhost: str
) -> None:
    """Neither that of an owner, nor that of a worker that passes requests on, nor an early one."""
    add_ordered_tag(database, "order")
    workers = fleet.start(2)
    with ForeignClient(vhost) as caller:
        assert [next_id(caller, "order") for _ in range(4)] == [1, 2, 3, 4]
    early = fleet.start(1, ready=False)[0]
    early.wait_for_log("Serving")
    for worker in (early, *workers):
        assert worker.terminate() == 0
        stop = worker.log.read_text().partition("Draining")[2]  # a busy broker may refuse a start
        levels = {line.split()[1] for line in stop.splitlines()[1:] if line.strip()}
        assert levels == {"INFO"}, worker.tail()


@pytest.mark.long
def test_a_tag_that_is_ordinary_for_a_while(
    fleet: Fleet, database: Database, vhost: str, management_url: str
) -> None:
    """Its owner does not go on with what it held before: 7 would follow 4002.

    Nor does it where nobody saw that the tag was ordinary, and the row alone tells.
    """
    add_ordered_tag(database, "order", step=1000)
    workers = fleet.start(2)
    name = Owners(management_url, vhost).worker_of("order")
    owner = next(worker for worker in workers if name.endswith(f":{worker.pid}"))
    (other,) = set(workers) - {owner}
    with ForeignClient(vhost) as caller:
        assert [next_id(caller, "order") for _ in range(6)] == [1, 2, 3, 4, 5, 6]
        database.query("UPDATE segments SET ordered = NULL")
        highest, who = answer_of(caller, "order")
        while who == name:  # until the other one has seen that the tag is ordinary
            time.sleep(0.02)
            highest, who = answer_of(caller, "order", 50)
        database.query("UPDATE segments SET ordered = 1")
        other.wait_for_logs("order is ordered", 2)
        owner.wait_for_logs("order is ordered", 1 + owner.count_in_log("is not ordered any more"))
        assert next_id(caller, "order") > highest
        wait_until(lambda: len(health_of(caller, "order", name)["segments"]) == 2)
        drops = owner.count_in_log(DROPPED)
        database.query("UPDATE segments SET max_id = max_id + 1000")
        mark = mark_of(database, "order")
        owner.wait_for_logs(DROPPED, drops + 1)
        assert next_id(caller, "order") >= mark


@pytest.mark.long
def test_a_segment_that_reaches_an_owner_while_it_stops(
    vhost: str, database: Database, management_url: str
) -> None:
    """Its successor has reserved first, so that it is not used: 21 would follow 51.

    The connection of the first becomes slow, so that it takes long to give its partitions up.
    """
    with TcpProxy(*address(vhost)) as broker, TcpProxy(*address(database.url)) as rows:
        slow = Fleet(through(broker, vhost), through(rows, database.url))
        with slow, Fleet(vhost, database.url) as fleet, ForeignClient(vhost) as caller:
            (owner,) = slow.start(1, refill_timeout=60, wait_timeout=60, drain_timeout=60)
            owner.wait_for_log(READY)
            app_tag = first_to_be_given_up(owner)
            add_ordered_tag(database, app_tag, step=10)
            database.query("UPDATE segments SET target_cover = 0")
            assert next_id(caller, app_tag) == 1
            wait_until(lambda: health_of(caller, app_tag, name_of(owner))["left"] == 18)
            rows.pause()
            assert answer_of(caller, app_tag, 9) == (10, name_of(owner))
            fleet.start(1)[0].wait_for_log(READY)
            with ThreadPoolExecutor(1) as pool:
                waiting = pool.submit(answer_later, vhost, app_tag, 15)
                wait_until(lambda: health_of(caller, app_tag, name_of(owner))["waiters"] > 0)
                broker.delay = 0.4
                owner.signal(signal.SIGTERM)
                Owners(management_url, vhost).wait_for_other_than(name_of(owner), app_tag)
                assert next_id(caller, app_tag) >= 20
                rows.resume()
                highest = waiting.result()
            assert next_id(caller, app_tag) > highest
            assert owner.wait() == 0, owner.tail()


def answer_of(caller: ForeignClient, app_tag: str, count: int = 1) -> tuple[int, str]:
    """Ask for ids; tells the highest, and which worker answers."""
    body = json.dumps({"app_tag": app_tag, "count": count}).encode()
    answer = caller.call("id.alloc", body, timeout=60)
    assert answer is not None
    reply = json.loads(answer[0])
    assert reply["resp_code"] == 0, reply
    return reply["ranges"][-1][1] - 1, str(answer[1].app_id)


def answer_later(amqp_url: str, app_tag: str, count: int) -> int:
    with ForeignClient(amqp_url) as caller:
        return answer_of(caller, app_tag, count)[0]


def health_of(caller: ForeignClient, app_tag: str, name: str) -> dict[str, Any]:
    """Ask until a certain worker answers how it stands with a tag."""
    body = json.dumps({"app_tag": app_tag}).encode()
    while True:
        answer = caller.call("id.health", body)
        assert answer is not None
        if answer[1].app_id == name:
            found: dict[str, Any] = json.loads(answer[0])["tags"][0]
            return found


def first_to_be_given_up(worker: Worker) -> str:
    """Make up a tag of the partition that a worker joined first."""
    wanted = max(range(PARTITIONS), key=lambda partition: precedence(name_of(worker), partition))
    return next(tag for n in range(1000) if partition_of(tag := f"order-{n}") == wanted)


def name_of(worker: Worker) -> str:
    """Tell under which name a worker answers."""
    line = worker.log.read_text().partition(" started: ")[0]
    return line[line.index("idalloc worker ") :]


def mark_of(database: Database, app_tag: str) -> int:
    ((mark,),) = database.query("SELECT max_id FROM segments WHERE app_tag = %s", app_tag)
    return int(mark)


def address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or 0


def kill_queue(broker: PrivateRabbitMq, queue: str) -> None:
    """End the Erlang process of a queue, as a fault in it would; its supervisor starts another."""
    vhost = unquote(urlsplit(broker.url).path[1:])
    broker.ctl("eval", KILL.format(vhost=vhost, queue=queue))
