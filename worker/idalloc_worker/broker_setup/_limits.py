"""How much of the broker callers and workers may take: policies of the queues, limits of users.

Operators may change all of it while everything runs; docs/broker.md says why it is what it is.
"""

from collections.abc import Mapping
from typing import Any, Final

from idalloc_schemas import DEAD_QUEUE

_SECOND: Final = 1000
_MINUTE: Final = 60 * _SECOND
_DAY: Final = 24 * 60 * _MINUTE
_MIB: Final = 1024 * 1024

VHOST_LIMITS: Final = {"max-connections": 2000, "max-queues": 2000}
CALLER_LIMITS: Final = {"max-connections": 500, "max-channels": 1000}
WORKER_LIMITS: Final = {"max-connections": 1000, "max-channels": 2500}
"""A worker process takes one connection with six channels, and now and then up to three more: for
answers that may end a connection, for messages that do, and for such ones in the stream."""

_TO_DEAD: Final[Mapping[str, Any]] = {
    "dead-letter-exchange": "",
    "dead-letter-routing-key": DEAD_QUEUE,
}

# A full queue refuses, so that the sender is told; the oldest requests are the honest ones.
_REFUSE: Final = {"overflow": "reject-publish"}

# Twenty thousand are what one worker process answers in a second: who comes behind them has still
# time left, and who would come behind more is better told at once.
_REQUESTS: Final[dict[str, Any]] = {
    **_TO_DEAD,
    **_REFUSE,
    "max-length": 20_000,
    "max-length-bytes": 16 * _MIB,
    "message-ttl": 5 * _MINUTE,
}
# One who asks how a worker is does not wait for minutes, and few ask.
_HEALTH: Final[dict[str, Any]] = {
    **_TO_DEAD,
    **_REFUSE,
    "max-length": 1000,
    "max-length-bytes": _MIB,
    "message-ttl": _MINUTE,
}
# Bundles of requests: 64 of them in each.
_ORDERED: Final = {
    **_TO_DEAD,
    **_REFUSE,
    "max-length": 10_000,
    "max-length-bytes": 64 * _MIB,
    "message-ttl": 5 * _MINUTE,
}
# Not `reject-publish`: one worker that is frozen would keep all others from telling what they
# reserve. A worker that has not read for so long is cut off by its heartbeat, and forgets all, or
# sees from the numbers of what it reads next that some is missing.
_FLEET: Final = {
    "max-length": 50_000,
    "max-length-bytes": 64 * _MIB,
    "message-ttl": 2 * _MINUTE,
}
_DEAD: Final = {"max-length": 10_000, "max-length-bytes": 16 * _MIB, "message-ttl": _DAY}

# For quorum queues alone: RabbitMQ applies a policy with this key to no other queue. What has come
# back so often is put away. Up to 4.2 it counts also what a worker hands back that stops, so this
# leaves room for more rolling restarts than a caller can see; messages that end connections are
# taken one by one long before (`requests/_quarantine.py`).
_DELIVERIES: Final = {"delivery-limit": 100}
# There they cannot be taken one by one, and only connections that are lost bring messages back.
_DELIVERIES_OF_BUNDLES: Final = {"delivery-limit": 5}

_ALLOC: Final = r"^id\.alloc$"
_ASK: Final = r"^id\.health$"
_PARTITIONS: Final = r"^id\.ordered\.[0-7]$"


def _policy(pattern: str, definition: Mapping[str, Any], priority: int) -> dict[str, Any]:
    return {
        "pattern": pattern,
        "apply-to": "queues",
        "priority": priority,
        "definition": dict(definition),
    }


def _for_quorum(name: str, pattern: str, definition: dict[str, Any]) -> dict[str, Any]:
    """Make the policies that apply where the queue is a quorum queue.

    RabbitMQ takes the applicable one of the highest priority. 3.10 believes that quorum queues have
    no TTL, and so applies none that has one.
    """
    return {
        f"{name}-quorum": _policy(pattern, definition | _DELIVERIES, 20),
        f"{name}-quorum-without-ttl": _policy(pattern, _without_ttl(definition) | _DELIVERIES, 5),
    }


def _without_ttl(definition: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in definition.items() if key != "message-ttl"}


POLICIES: Final[Mapping[str, Mapping[str, Any]]] = {
    "idalloc-requests": _policy(_ALLOC, _REQUESTS, 10),
    **_for_quorum("idalloc-requests", _ALLOC, _REQUESTS),
    # Above the policy of older set-ups, which was for both queues.
    "idalloc-health": _policy(_ASK, _HEALTH, 11),
    **_for_quorum("idalloc-health", _ASK, _HEALTH),
    "idalloc-ordered": _policy(_PARTITIONS, _ORDERED, 10),
    # Without a time to live: bundles have one of their own, and fences must not have any.
    "idalloc-ordered-quorum": _policy(
        _PARTITIONS, _without_ttl(_ORDERED) | _DELIVERIES_OF_BUNDLES, 20
    ),
    "idalloc-local": _policy(r"^id\.local\..+$", _REQUESTS, 10),
    "idalloc-fleet": _policy(r"^id\.fleet\.(?!marks$).+$", _FLEET, 10),
    "idalloc-dead": _policy(r"^id\.dead$", _DEAD, 10),
}
