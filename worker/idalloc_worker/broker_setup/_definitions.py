"""What idalloc needs in a broker, in the form of RabbitMQ's definitions files; pure.

`deploy/rabbitmq/definitions.json` is this with the default names and without passwords, and
`definitions-cluster.json` beside it the same with quorum queues.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from idalloc_schemas import (
    ALLOC_QUEUE,
    DEAD_QUEUE,
    FLEET_EXCHANGE,
    FLEET_HEALTH_EXCHANGE,
    HEALTH_QUEUE,
    LOCAL_EXCHANGE,
    MARKS_STREAM,
    REQUEST_EXCHANGE,
)
from idalloc_worker.broker_setup._limits import CALLER_LIMITS, POLICIES, VHOST_LIMITS, WORKER_LIMITS
from idalloc_worker.marks import STREAM_ARGUMENTS
from idalloc_worker.tags import QUEUE_ARGUMENTS, QUORUM_ARGUMENTS, SOON_GIVEN_UP
from idalloc_worker.tags import QUEUES as ORDERED_QUEUES

Callers = Literal["contract", "strict"]
"""What callers may write to: the default exchange, as the contract has it, and the exchange for
requests; or that exchange only."""

HASHING: Final = "rabbit_password_hashing_sha256"
NO_PASSWORD: Final = ""
"""The hash of a user who cannot log in with a password."""

_NOTHING: Final = "^$"
_ALL: Final = ".*"
_WORKER_RIGHTS: Final = {
    "configure": r"^id\.(fleet|local)\..+$",
    "write": r"^(amq\.default|id\.fleet(\..+)?|id\.local\..+)$",
    "read": r"^id\.(alloc|health|(fleet|local)(\..+)?|ordered\.[0-7])$",
}
_CALLERS_WRITE: Final[Mapping[Callers, str]] = {
    "contract": r"^(amq\.default|id\.requests|id\.local)$",
    "strict": r"^id\.requests$",
}
_OPERATOR_RIGHTS: Final = {"configure": _ALL, "write": _ALL, "read": _ALL}


@dataclass(frozen=True)
class Broker:
    """The names to set up, and the hashes of the passwords of those users who have one."""

    vhost: str = "idalloc"
    worker: str = "idalloc-worker"
    callers: tuple[str, ...] = ("idalloc-caller",)
    operator: str | None = None
    may_write: Callers = "contract"
    quorum: bool = False
    """Whether the queues of requests survive a node of a cluster."""
    local: bool = False
    """Whether callers may ask a worker at their own node; RabbitMQ has that from 4.0 on."""
    hashes: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def users(self) -> tuple[str, ...]:
        """Everybody by name."""
        operator = () if self.operator is None else (self.operator,)
        return (self.worker, *self.callers, *operator)

    def definitions(self) -> dict[str, list[dict[str, Any]]]:
        """Write all of it as `rabbitmqctl import_definitions` and the management API read it."""
        here = {"vhost": self.vhost}
        return {
            "vhosts": [{"name": self.vhost}],
            "users": self._users(),
            "permissions": [{"user": name, **here, **self._rights(name)} for name in self.users],
            "parameters": [
                {
                    **here,
                    "component": "vhost-limits",
                    "name": "limits",
                    "value": dict(VHOST_LIMITS),
                }
            ],
            "exchanges": [
                _exchange(FLEET_EXCHANGE, "fanout") | here,
                _exchange(FLEET_HEALTH_EXCHANGE, "fanout") | here,
                _exchange(REQUEST_EXCHANGE, "direct") | here,
                *([_exchange(LOCAL_EXCHANGE, "x-local-random") | here] if self.local else []),
            ],
            "queues": [
                {"name": name, **here, "durable": True, "auto_delete": False, "arguments": given}
                for name, given in _queues(quorum=self.quorum).items()
            ],
            "bindings": [
                {
                    "source": exchange,
                    **here,
                    "destination": queue,
                    "destination_type": "queue",
                    "routing_key": key,
                    "arguments": {},
                }
                for exchange, queue, key in _BINDINGS
            ],
            "policies": [{"name": name, **here, **policy} for name, policy in POLICIES.items()],
        }

    def _users(self) -> list[dict[str, Any]]:
        return [
            {
                "name": name,
                "password_hash": self.hashes.get(name, NO_PASSWORD),
                "hashing_algorithm": HASHING,
                "tags": ["monitoring"] if name == self.operator else [],
                "limits": dict(self._limits(name)),
            }
            for name in self.users
        ]

    def _limits(self, user: str) -> Mapping[str, int]:
        if user == self.operator:
            return {}
        return WORKER_LIMITS if user == self.worker else CALLER_LIMITS

    def _rights(self, user: str) -> dict[str, str]:
        if user == self.operator:
            return _OPERATOR_RIGHTS
        if user == self.worker:
            return _WORKER_RIGHTS
        write = _CALLERS_WRITE[self.may_write]
        return {"configure": _NOTHING, "write": write, "read": _NOTHING}


_BINDINGS: Final = (
    (FLEET_EXCHANGE, MARKS_STREAM, ""),
    (REQUEST_EXCHANGE, ALLOC_QUEUE, ALLOC_QUEUE),
    (REQUEST_EXCHANGE, HEALTH_QUEUE, HEALTH_QUEUE),
)


def _exchange(name: str, kind: str) -> dict[str, Any]:
    return {
        "name": name,
        "vhost": "",
        "type": kind,
        "durable": True,
        "auto_delete": False,
        "internal": False,
        "arguments": {},
    }


def _queues(*, quorum: bool) -> dict[str, dict[str, Any]]:
    """Each queue's arguments: none that a policy of every release could set."""
    requests = {"x-queue-type": "quorum", **SOON_GIVEN_UP} if quorum else {}
    ordered = QUORUM_ARGUMENTS if quorum else QUEUE_ARGUMENTS
    return {
        ALLOC_QUEUE: dict(requests),
        HEALTH_QUEUE: dict(requests),
        DEAD_QUEUE: {},
        MARKS_STREAM: dict(STREAM_ARGUMENTS),
        **{name: dict(ordered) for name in ORDERED_QUEUES},
    }
