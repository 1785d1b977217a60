"""Resources for the Messaging Topology Operator: all definitions, in fields that it knows."""

import json
import re
from typing import Any

import pytest
from click.testing import CliRunner

from idalloc_worker.broker_setup import Broker, topology
from idalloc_worker.cli._main import cli

FIELDS = {
    "Vhost": {"name", "limits", "deletionPolicy"},
    "User": {"importCredentialsSecret", "tags", "limits"},
    "Permission": {"userReference", "vhost", "permissions"},
    "Exchange": {"name", "vhost", "type", "durable", "autoDelete", "arguments"},
    "Queue": {"name", "vhost", "type", "durable", "autoDelete", "arguments", "deletionPolicy"},
    "Binding": {"vhost", "source", "destination", "destinationType", "routingKey"},
    "Policy": {"name", "vhost", "pattern", "applyTo", "priority", "definition"},
}
"""Of `rabbitmq.com/v1beta1`, release 1.20 of the operator: `config/crd/bases` in its repository."""
NAME = re.compile(r"[a-z0-9]([-.a-z0-9]*[a-z0-9])?")
"""Of a resource, by RFC 1123 as Kubernetes has it."""


def resources(broker: Broker, kind: str) -> list[dict[str, Any]]:
    return [it["spec"] for it in topology(broker, "mq")["items"] if it["kind"] == kind]


@pytest.mark.parametrize("quorum", [True, False])
@pytest.mark.parametrize("local", [True, False])
def test_each_has_known_fields_and_a_valid_name(quorum: bool, local: bool) -> None:  # noqa: FBT001
    broker = Broker(operator="Ops_1", quorum=quorum, local=local)
    for item in topology(broker, "mq")["items"]:
        spec = item["spec"]
        assert item["apiVersion"] == "rabbitmq.com/v1beta1"
        assert spec.pop("rabbitmqClusterReference") == {"name": "mq"}
        assert spec.keys() <= FIELDS[item["kind"]]
        assert NAME.fullmatch(item["metadata"]["name"])


@pytest.mark.parametrize("quorum", [True, False])
def test_nothing_of_the_definitions_is_missing(quorum: bool) -> None:  # noqa: FBT001
    """Queues with their types, policies with what they say, users with their limits and rights."""
    broker = Broker(operator="ops", quorum=quorum)
    given = broker.definitions()
    for kind in ("queues", "exchanges"):
        assert [
            {**({"x-queue-type": it["type"]} if kind == "queues" and "type" in it else {})}
            | {"name": it["name"], **it["arguments"]}
            for it in resources(broker, kind.removesuffix("s").title())
        ] == [{"name": it["name"], **it["arguments"]} for it in given[kind]]
    policies = {it["name"]: it["definition"] for it in resources(broker, "Policy")}
    assert policies == {it["name"]: it["definition"] for it in given["policies"]}
    rights = [it["permissions"] for it in resources(broker, "Permission")]
    kinds = ("configure", "write", "read")
    assert rights == [{kind: it[kind] for kind in kinds} for it in given["permissions"]]
    limits = [it["limits"].get("connections") for it in resources(broker, "User")]
    assert limits == [it["limits"].get("max-connections") for it in given["users"]]
    assert len(resources(broker, "Binding")) == len(given["bindings"])


def test_names_that_would_be_one_on_kubernetes_are_refused() -> None:
    result = CliRunner().invoke(
        cli,
        ["broker-setup", "--kubernetes", "mq", "--caller", "shop_a", "--caller", "shop-a"],
    )
    assert result.exit_code == 2
    assert "need names that differ" in result.stderr


def test_the_command_prints_them_without_a_password() -> None:
    """Passwords are in Secrets, which whoever runs the cluster makes."""
    result = CliRunner().invoke(cli, ["broker-setup", "--kubernetes", "mq"])
    assert json.loads(result.stdout) == topology(Broker(), "mq")
    assert not result.stderr


@pytest.mark.parametrize("option", ["--apply=http://ops@127.0.0.1:15672", "--write-passwords=x"])
def test_they_are_printed_and_nothing_else(option: str) -> None:
    result = CliRunner().invoke(cli, ["broker-setup", "--kubernetes", "mq", option])
    assert result.exit_code == 2
    assert "--kubernetes goes neither" in result.stderr
