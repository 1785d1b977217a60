"""The Node example of the documentation against real workers.

It needs Node and amqplib: name the `node_modules` folder of an `npm install` in docs/examples/node
with IDALLOC_TEST_NODE_MODULES. `tests/integration/test_foreign.py` holds the same contract without.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from devstack import Database
from devstack.workers import Fleet

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "node"
NODE_MODULES = os.environ.get("IDALLOC_TEST_NODE_MODULES")

needs_node = pytest.mark.skipif(
    NODE_MODULES is None, reason="IDALLOC_TEST_NODE_MODULES names no folder with amqplib"
)

RunScript = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def node(fleet: Fleet, tmp_path: Path) -> RunScript:
    """Run the example's command line, or a script that imports it."""
    assert NODE_MODULES is not None
    shutil.copy(EXAMPLE / "alloc.mjs", tmp_path)
    (tmp_path / "node_modules").symlink_to(Path(NODE_MODULES).resolve())

    def run(*arguments: str, script: str = "") -> subprocess.CompletedProcess[str]:
        (tmp_path / "script.mjs").write_text(script)
        return subprocess.run(
            ["node", "script.mjs" if script else "alloc.mjs", *arguments],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "AMQP_URL": fleet.amqp_url},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

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
def test_no_available_id_and_busy(fleet: Fleet, node: RunScript, silent_database: str) -> None:
    """-1 and -6 tell when to retry."""
    with Fleet(fleet.amqp_url, silent_database) as workers:
        workers.start(1, max_waiters=3)
        refused = said(node(script=EIGHT_AT_ONCE))
    assert sorted(code for code, _ in refused) == [-6] * 5 + [-1] * 3
    assert all(retry_after > 0 for _, retry_after in refused)


EIGHT_AT_ONCE = """
import { IdallocClient } from "./alloc.mjs";
const client = await IdallocClient.connect(process.env.AMQP_URL);
const calls = Array.from({ length: 8 }, () => client.nextIds("test_business"));
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
