"""The same definitions as resources for RabbitMQ's Messaging Topology Operator on Kubernetes; pure.

Fields and their meaning are those of `rabbitmq.com/v1beta1`
(https://github.com/rabbitmq/messaging-topology-operator, `docs/api`).
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from idalloc_worker.broker_setup._definitions import Broker

_API: Final = "rabbitmq.com/v1beta1"
_QUEUE_TYPE: Final = "x-queue-type"
_NOT_IN_NAMES: Final = re.compile(r"[^a-z0-9.-]+")
_KEPT: Final = {"deletionPolicy": "retain"}
"""Who deletes the resource keeps the queue, and what waits in it."""

_Spec = Mapping[str, Any]


def topology(broker: Broker, cluster: str) -> dict[str, Any]:
    """Write a list of resources for the RabbitmqCluster of that name, as `kubectl apply -f` reads.

    A user's name and password are taken from the Secret `NAME-credentials`, keys `username` and
    `password`. Raises ValueError if two users would have one name on Kubernetes.
    """
    items: list[dict[str, Any]] = [
        {
            "apiVersion": _API,
            "kind": kind,
            "metadata": {"name": _name(name)},
            "spec": {**spec, "rabbitmqClusterReference": {"name": cluster}},
        }
        for kind, name, spec in _resources(broker)
    ]
    names = [(each["kind"], each["metadata"]["name"]) for each in items]
    if len(set(names)) < len(names):
        raise ValueError("on Kubernetes, users need names that differ in a-z, 0-9, . and -")
    return {"apiVersion": "v1", "kind": "List", "items": items}


def _resources(broker: Broker) -> Iterator[tuple[str, str, _Spec]]:
    definitions = broker.definitions()
    limits = _limits(definitions["parameters"][0]["value"])
    here = {"vhost": broker.vhost}
    yield "Vhost", broker.vhost, {"name": broker.vhost, "limits": limits, **_KEPT}
    for user in definitions["users"]:
        secret = {"importCredentialsSecret": {"name": f"{_name(user['name'])}-credentials"}}
        limits = _limits(user["limits"])
        yield "User", user["name"], {**secret, "tags": user["tags"], "limits": limits}
    for right in definitions["permissions"]:
        rights = {what: right[what] for what in ("configure", "write", "read")}
        user = {"userReference": {"name": _name(right["user"])}}
        yield "Permission", right["user"], {**user, **here, "permissions": rights}
    for exchange in definitions["exchanges"]:
        yield "Exchange", exchange["name"], _declared(exchange)
    for queue in definitions["queues"]:
        arguments = dict(queue["arguments"])
        kind = {"type": arguments.pop(_QUEUE_TYPE)} if _QUEUE_TYPE in arguments else {}
        yield "Queue", queue["name"], {**_declared(queue), "arguments": arguments, **kind, **_KEPT}
    for binding in definitions["bindings"]:
        ends = {end: binding[end] for end in ("source", "destination")}
        how = {"destinationType": binding["destination_type"], "routingKey": binding["routing_key"]}
        yield "Binding", "-".join(ends.values()), {**ends, **how, **here}
    for policy in definitions["policies"]:
        what = {key: policy[key] for key in ("name", "pattern", "priority", "definition")}
        yield "Policy", policy["name"], {**what, **here, "applyTo": policy["apply-to"]}


def _name(name: str) -> str:
    """Write a name as Kubernetes has them."""
    return _NOT_IN_NAMES.sub("-", name.lower()).strip("-.")


def _declared(found: Mapping[str, Any]) -> dict[str, Any]:
    """Keep what an exchange and a queue are declared with, by the names that it has here."""
    kept = ("name", "vhost", "type", "durable", "arguments")
    return {key: found[key] for key in kept if key in found} | {"autoDelete": found["auto_delete"]}


def _limits(limits: Mapping[str, int]) -> dict[str, int]:
    return {name.removeprefix("max-"): limit for name, limit in limits.items()}
