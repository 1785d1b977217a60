"""What `idalloc broker-setup` prints: the shipped file, and nothing that anybody else knows."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from idalloc_schemas import (
    ALLOC_QUEUE,
    FLEET_EXCHANGE,
    FLEET_HEALTH_EXCHANGE,
    HEALTH_QUEUE,
    LOCAL_EXCHANGE,
    MARKS_STREAM,
    REQUEST_EXCHANGE,
)
from idalloc_worker.broker_setup._definitions import Broker
from idalloc_worker.broker_setup._limits import POLICIES
from idalloc_worker.broker_setup._password import hashed, matches, new_password, variable_of
from idalloc_worker.cli._main import cli
from idalloc_worker.tags._partitions import QUEUES as ORDERED_QUEUES

DEPLOY = Path(__file__).resolve().parents[3] / "deploy/rabbitmq"
SHIPPED = DEPLOY / "definitions.json"


def run(*arguments: str, **environ: str) -> Any:
    return CliRunner().invoke(cli, ["broker-setup", *arguments], env=environ)


def test_the_shipped_definitions_are_what_it_prints() -> None:
    """One source: `idalloc broker-setup --no-passwords > deploy/rabbitmq/definitions.json`."""
    assert SHIPPED.read_text("utf-8") == run("--no-passwords").stdout


def test_those_for_a_cluster_are_what_it_prints_with_quorum_queues() -> None:
    """`idalloc broker-setup --quorum --no-passwords > deploy/rabbitmq/definitions-cluster.json`."""
    printed = run("--no-passwords", "--quorum").stdout
    assert (DEPLOY / "definitions-cluster.json").read_text("utf-8") == printed
    here, there = json.loads(SHIPPED.read_text("utf-8")), json.loads(printed)
    assert {key: part for key, part in here.items() if key != "queues"} == {
        key: part for key, part in there.items() if key != "queues"
    }
    types = {queue["name"]: queue["arguments"].get("x-queue-type") for queue in there["queues"]}
    for queue in (ALLOC_QUEUE, HEALTH_QUEUE, *ORDERED_QUEUES):
        assert types[queue] == "quorum"


def test_no_policy_for_quorum_queues_with_a_fence_lets_messages_age() -> None:
    """A fence that is dropped tells nobody anything; the policy that does so is overruled."""
    for policy in POLICIES.values():
        if re.search(policy["pattern"], ORDERED_QUEUES[0]) and policy["priority"] > 10:
            assert "message-ttl" not in policy["definition"]
            assert "delivery-limit" in policy["definition"]
            return
    pytest.fail("there is none")


def test_a_hash_is_that_of_rabbitmq() -> None:
    """As `rabbitmqctl hash_password` made it; the salt is another one each time."""
    of_rabbitmq = "IuUrviVA3Sq35HcIfozi4Rj8EShB2DhsKgF42mJ+GyHBrD07"
    assert matches("caller-development-only", of_rabbitmq)
    assert not matches("caller-development-onl", of_rabbitmq)
    assert not matches("", "")
    assert hashed("x") != hashed("x")
    assert matches("x", hashed("x"))


def test_passwords_come_from_the_environment_or_are_new() -> None:
    """New ones are told beside what is printed, the others nowhere."""
    result = run("--caller", "shop", "--caller", "pay", SHOP_PASSWORD="of-the-shop")
    users = {user["name"]: user["password_hash"] for user in json.loads(result.stdout)["users"]}
    assert matches("of-the-shop", users["shop"])
    assert "of-the-shop" not in result.output
    told = dict(re.findall(r"^(\w+_PASSWORD)=(\S+)$", result.stderr, re.MULTILINE))
    assert told.keys() == {"IDALLOC_WORKER_PASSWORD", "PAY_PASSWORD"}
    assert matches(told["PAY_PASSWORD"], users["pay"])
    assert matches(told["IDALLOC_WORKER_PASSWORD"], users["idalloc-worker"])
    assert len({new_password() for _ in range(100)}) == 100


def test_the_name_of_a_variable() -> None:
    assert variable_of("idalloc-caller") == "IDALLOC_CALLER_PASSWORD"
    assert variable_of("a.b") == "A_B_PASSWORD"


def test_new_passwords_are_written_for_their_owner_alone(tmp_path: Path) -> None:
    """A file that is there is not written to, and then nothing is printed that needs them."""
    file = tmp_path / "passwords"
    result = run("--write-passwords", str(file))
    assert json.loads(result.stdout)
    assert file.stat().st_mode & 0o077 == 0
    assert "PASSWORD=" in file.read_text("utf-8")
    assert "PASSWORD=" not in result.output
    again = run("--write-passwords", str(file))
    assert isinstance(again.exception, FileExistsError)
    assert again.stdout == ""


@pytest.mark.parametrize("option", [["--update"], ["--dry-run"], ["--password-file", "x"]])
def test_what_is_for_applying_needs_something_to_apply_to(option: list[str]) -> None:
    assert "--apply" in run(*option).stderr


def test_each_user_has_a_name_of_its_own() -> None:
    """A caller with a worker's rights could forge what workers tell each other."""
    assert run("--caller", "idalloc-worker").exit_code == 2


def test_every_exchange_is_there_that_workers_use() -> None:
    """So that a worker needs to declare none."""
    exchanges = {each["name"]: each["type"] for each in Broker().definitions()["exchanges"]}
    fleet = dict.fromkeys((FLEET_EXCHANGE, FLEET_HEALTH_EXCHANGE), "fanout")
    assert exchanges == {**fleet, REQUEST_EXCHANGE: "direct"}
    there = json.loads(run("--local", "--no-passwords").stdout)["exchanges"]
    assert {each["name"]: each["type"] for each in there} == {
        **exchanges,
        LOCAL_EXCHANGE: "x-local-random",
    }


def test_every_queue_has_limits_but_the_stream() -> None:
    """A stream has its own. Who is refused is told; the oldest of the dead are let go."""
    queues = [queue["name"] for queue in Broker().definitions()["queues"]]
    local = "id.local.0123456789abcdef"
    fleet = ("id.fleet.0123456789abcdef", "id.fleet.health.0123456789abcdef")
    for queue in [*queues, *fleet, local]:
        mine = [it for it in POLICIES.values() if re.search(it["pattern"], queue)]
        if queue == MARKS_STREAM:
            assert not mine
            continue
        definitions = [it["definition"] for it in sorted(mine, key=lambda it: -it["priority"])]
        assert all({"max-length", "max-length-bytes"} <= one.keys() for one in definitions)
        limits = next(one for one in definitions if "delivery-limit" not in one)
        assert "message-ttl" in limits
        refuses = limits.get("overflow") == "reject-publish"
        assert refuses is (queue in {ALLOC_QUEUE, HEALTH_QUEUE, *ORDERED_QUEUES, local})


@pytest.mark.parametrize(
    ("may_write", "exchange", "may"),
    [
        ("contract", "amq.default", True),
        ("contract", "id.requests", True),
        ("strict", "amq.default", False),
        ("strict", "id.requests", True),
        ("contract", "id.local", True),
        ("contract", "id.local.0123456789abcdef", False),
        ("strict", "id.local", False),
        ("contract", "id.fleet", False),
        ("strict", "id.fleet", False),
        ("contract", "id.fleet.health", False),
        ("strict", "id.fleet.health", False),
        ("strict", "id.requests2", False),
        ("strict", "idxrequests", False),
    ],
)
def test_what_callers_may_write_to(may_write: Any, exchange: str, *, may: bool) -> None:
    """And they may read and configure nothing."""
    broker = Broker(callers=("a", "b"), may_write=may_write)
    rights = {it["user"]: it for it in broker.definitions()["permissions"]}
    for name in broker.callers:
        assert (re.search(rights[name]["write"], exchange) is not None) is may
        assert (rights[name]["configure"], rights[name]["read"]) == ("^$", "^$")
