"""The Node example of the documentation against real workers, and against the vectors.

It needs Node and amqplib: `.ci/node FOLDER` installs them; name its `node_modules` with
IDALLOC_TEST_NODE_MODULES. `tests/integration/test_foreign.py` holds the same contract without.
"""

import json
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pika
import pytest

from devstack import Database, TcpProxy
from devstack.workers import Fleet, blocking_connection, through
from idalloc_schemas import encode_alloc_success
from tests.contract import FOLDER
from tests.contract._answers import Answers, vectors
from tests.node import EXAMPLE, needs_node, prepare, run_node
from tests.stub_worker import StubWorker, send

RunScript = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def node(vhost: str, tmp_path: Path) -> RunScript:
    """Run the example's command line, another script of it, or one that imports it."""
    prepare(tmp_path)

    def run(
        *arguments: str, file: str = "alloc.mjs", script: str = "", amqp_url: str = vhost
    ) -> subprocess.CompletedProcess[str]:
        (tmp_path / "script.mjs").write_text(script)
        environment = {"AMQP_URL": amqp_url, "VECTORS": str(FOLDER / "vectors")}
        name = "script.mjs" if script else file
        return run_node(tmp_path, name, *arguments, environment=environment)

    return run


def said(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_example_names_its_library() -> None:
    """`npm install` in the example's folder brings what the script imports."""
    package = json.loads((EXAMPLE / "package.json").read_text())
    assert list(package["dependencies"]) == ["amqplib"]
    assert 'from "amqplib"' in (EXAMPLE / "alloc.mjs").read_text()


@needs_node
def test_ids_batches_and_health(fleet: Fleet, node: RunScript) -> None:
    """One id, a batch, and the state of a worker."""
    fleet.start()
    assert said(node("test_business")) == [[1, 2]]
    assert said(node("test_business", "500")) == [[2, 502]]
    assert said(node("--health"))["tags"][0]["app_tag"] == "test_business"
    assert said(node("--health", "nobody_asked_yet"))["tags"][0]["state"] == "cold"


@needs_node
def test_error_codes(fleet: Fleet, node: RunScript, database: Database) -> None:
    """Each refusal arrives with its code and ends the command with 1."""
    end = 2**63 - 1
    database.query("INSERT INTO segments (app_tag, max_id, step) VALUES ('old', %s, 100)", end)
    fleet.start()
    for arguments, start in (
        (("test_business", "0"), "-2 count: "),
        (("nope",), "-3 app_tag not found"),
        (("old",), "-4 "),
    ):
        done = node(*arguments)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(start)


@needs_node
def test_ids_that_json_parse_would_round_are_refused(
    fleet: Fleet, node: RunScript, database: Database
) -> None:
    """An id that JavaScript cannot hold is an error, not a wrong number."""
    database.query("INSERT INTO segments (app_tag, max_id, step) VALUES ('big', %s, 100)", 2**53)
    fleet.start()
    assert "64-bit" in node("big").stderr


@needs_node
def test_numbers_of_a_period_come_with_it(vhost: str, node: RunScript) -> None:
    """A bare number would come twice, so it is an error that names the other call."""

    def answer(channel: Any, request: pika.BasicProperties, _: bytes) -> None:
        send(channel, request, encode_alloc_success([(7, 9)], "2026-11"))

    with StubWorker(vhost, answer):
        assert said(node(script=NUMBERS)) == ["2026-11", [[7, 9]], "nextNumbers"]


NUMBERS = """
import { IdallocClient } from "./alloc.mjs";
const client = await IdallocClient.connect(process.env.AMQP_URL);
const { period, ranges } = await client.nextNumbers("invoice", 2);
const reason = await client.nextIds("invoice", 2).catch((error) => error.message);
console.log(JSON.stringify([period, ranges, reason.split(" ").at(-1)]));
await client.close();
"""


@needs_node
@pytest.mark.long
def test_no_available_id_and_busy(vhost: str, node: RunScript, silent_database: str) -> None:
    """What may pass is asked again; in the end the last -1 or -6 is told, not that time is up."""
    with Fleet(vhost, silent_database) as workers:
        workers.start(1, max_waiters=3)
        refused = said(node(script=EIGHT_AT_ONCE))
    assert {code for code, _ in refused} <= {-1, -6}
    assert all(retry_after > 0 for _, retry_after in refused)


EIGHT_AT_ONCE = """
import { IdallocClient } from "./alloc.mjs";
const client = await IdallocClient.connect(process.env.AMQP_URL);
const calls = Array.from({ length: 8 }, () => client.nextIds("test_business", 1, 10_000));
const ends = await Promise.allSettled(calls);
console.log(JSON.stringify(ends.map(({ reason }) => [reason.code, reason.retryAfterMs])));
await client.close();
"""


@needs_node
def test_a_missing_queue_is_told_at_once(node: RunScript) -> None:
    """Without any worker ever, the returned request ends the call, not its timeout."""
    done = node(script=MISSING_QUEUE)
    assert said(done) == "no queue id.alloc: is a worker running?"


MISSING_QUEUE = """
import { IdallocClient } from "./alloc.mjs";
const client = await IdallocClient.connect(process.env.AMQP_URL);
const reason = await client.nextIds("order", 1, 600_000).catch((error) => error.message);
console.log(JSON.stringify(reason));
await client.close();
"""


@needs_node
def test_a_call_without_any_time_left_is_late(node: RunScript) -> None:
    """As when the machine was busy while the call waited to ask again: nothing is sent."""
    assert said(node(script=NO_TIME)) == ["no reply in time", True]


NO_TIME = """
import { IdallocClient } from "./alloc.mjs";
const client = await IdallocClient.connect(process.env.AMQP_URL);
const { message, late } = await client.nextIds("order", 1, 0).catch((error) => error);
console.log(JSON.stringify([message, late]));
await client.close();
"""


@needs_node
def test_many_calls_share_a_connection(fleet: Fleet, node: RunScript) -> None:
    """A thousand calls in flight together get a thousand ids, each its own."""
    fleet.start()
    ranges = said(node(script=A_THOUSAND))
    assert sorted(left for left, _ in ranges) == list(range(1, 1001))


A_THOUSAND = """
import { IdallocClient } from "./alloc.mjs";
const client = await IdallocClient.connect(process.env.AMQP_URL);
const calls = Array.from({ length: 1000 }, () => client.nextIds("test_business"));
console.log(JSON.stringify((await Promise.all(calls)).flat()));
await client.close();
"""


@needs_node
def test_a_worker_passes_the_vectors(prepared: Fleet, node: RunScript) -> None:
    """Asked by Node, a worker answers as they say."""
    done = node("requests", file="conformance.mjs", amqp_url=prepared.amqp_url)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


@needs_node
def test_the_example_passes_the_vectors(node: RunScript, answers: Answers) -> None:
    """It reads each answer as they say, and asks as often as they say."""
    done = node("replies", file="conformance.mjs")
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr
    for vector in vectors("replies"):
        if "requests" in vector["expect"]:
            assert answers.requests[vector["tag"]] == vector["expect"]["requests"], vector["tag"]


@needs_node
def test_a_lost_connection_is_opened_anew(vhost: str, node: RunScript, proxy: TcpProxy) -> None:
    """Calls whose connection breaks before their reply comes ask again on a new one."""
    seen: Counter[str] = Counter()

    def answer(channel: Any, request: pika.BasicProperties, body: bytes) -> None:
        tag = json.loads(body)["app_tag"]
        seen[tag] += 1
        if seen[tag] == 1:
            proxy.drop()
        else:
            send(channel, request, encode_alloc_success([(7, 8)]))

    with StubWorker(vhost, answer):
        done = node(script=THREE_IN_TURN, amqp_url=through(proxy, vhost))
    assert said(done) == [[[7, 8]]] * 3
    assert seen.keys() == {"first", "second", "third"}


THREE_IN_TURN = """
import { IdallocClient } from "./alloc.mjs";
const client = await IdallocClient.connect(process.env.AMQP_URL);
const found = [];
for (const tag of ["first", "second", "third"]) found.push(await client.nextIds(tag, 1, 60_000));
console.log(JSON.stringify(found));
await client.close();
"""


@needs_node
@pytest.mark.long
def test_a_full_queue_is_busy(vhost: str, node: RunScript) -> None:
    """A request that the broker does not take is asked again, and told as -6 in the end."""
    limits = {"x-max-length": 1, "x-overflow": "reject-publish"}
    with blocking_connection(vhost) as connection:
        channel = connection.channel()
        channel.queue_declare("id.alloc", durable=True, arguments=limits)
        channel.basic_publish("", "id.alloc", b"{}")
        done = node("test_business")
        assert done.stderr.startswith("-6 ")
        channel.queue_purge("id.alloc")


@needs_node
def test_a_lease_asks_for_a_batch_at_a_time(fleet: Fleet, node: RunScript) -> None:
    """Ids come from memory, each once and rising; 2500 of them take three requests of 1000."""
    fleet.start()
    ids, taken = said(node(script=LEASE))
    assert ids == list(range(1, 2501))
    assert taken == 3000


LEASE = """
import { IdallocClient, IdLease } from "./alloc.mjs";
const client = await IdallocClient.connect(process.env.AMQP_URL);
const lease = new IdLease(client, "test_business", 1000);
const ids = await Promise.all(Array.from({ length: 2500 }, () => lease.next()));
const { tags } = await client.health("test_business");
console.log(JSON.stringify([ids, tags[0].ids_handed_out]));
await client.close();
"""
