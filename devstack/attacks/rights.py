"""The shipped `definitions.json` on the broker of the tests: its users, rights, queues, limits.

Everything is read out of that file, for a virtual host and users of one run.
"""

import json
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

from devstack import Management, Stack, scratch_vhost

DEFINITIONS: Final = Path(__file__).parents[2] / "deploy/rabbitmq/definitions.json"
WORKER: Final = "idalloc-worker"
CALLER: Final = "idalloc-caller"
INTRUDER: Final = "intruder"
"""A user with the rights and limits of a caller, and another name."""


@dataclass(frozen=True)
class ShippedBroker:
    """A virtual host as shipped."""

    management: Management
    vhost: str
    amqp_url: str
    """For whoever may do everything."""
    users: Mapping[str, str]
    """The URL by which each user of the definitions logs in."""
    most_bytes: Mapping[str, int]
    """What the policies let each queue of the definitions hold."""

    @property
    def port(self) -> int:
        return urlsplit(self.amqp_url).port or 5672

    def user_name(self, user: str) -> str:
        """Return the name that a user of the definitions has in this run."""
        return urlsplit(self.users[user]).username or ""

    def queues(self) -> list[Mapping[str, Any]]:
        """Return what the management API says about each queue."""
        found: list[Mapping[str, Any]] = self.management.get(f"/api/queues/{quote(self.vhost)}")
        return found

    def fleet_queues(self) -> list[str]:
        """Name the workers' own queues, as RabbitMQ's detailed metrics do to whoever asks."""
        names = [str(queue["name"]) for queue in self.queues()]
        return [name for name in names if name.startswith("id.fleet.") and "marks" not in name]

    def connections(self, user: str) -> list[str]:
        """Name the connections of a user."""
        path = f"/api/connections/username/{quote(self.user_name(user))}"
        return [str(connection["name"]) for connection in self.management.get(path)]

    def close_connections(self, user: str) -> int:
        """Have the broker close the connections of a user, as a restart would."""
        names = self.connections(user)
        for name in names:
            self.management.delete(f"/api/connections/{quote(name, safe='')}")
        return len(names)


@contextmanager
def shipped_broker(stack: Stack) -> Iterator[ShippedBroker]:
    """Import the definitions under names of this run, with an intruder among the users."""
    suffix = f"-{secrets.token_hex(4)}"
    vhost = f"idalloc-attacks{suffix}"
    management = Management(stack.management_url)
    passwords = {}
    with scratch_vhost(stack.amqp_url, stack.management_url, vhost) as amqp_url:
        shipped = _renamed(_with_intruder(json.loads(DEFINITIONS.read_text())), vhost, suffix)
        for user in shipped["users"]:
            passwords[user["name"].removesuffix(suffix)] = user["password"] = secrets.token_hex(8)
        try:
            management.post("/api/definitions", shipped)
            urls = {
                user: _as_user(amqp_url, user + suffix, password)
                for user, password in passwords.items()
            }
            yield ShippedBroker(management, vhost, amqp_url, urls, _most_bytes(shipped))
        finally:
            for user in shipped["users"]:
                management.delete(f"/api/users/{quote(user['name'])}")


def _with_intruder(shipped: dict[str, Any]) -> dict[str, Any]:
    """Add a user who is in everything like the caller, but for the name."""
    for key in ("users", "permissions", "topic_permissions"):
        for entry in list(shipped.get(key, ())):
            field = "name" if key == "users" else "user"
            if entry[field] == CALLER:
                shipped[key].append({**entry, field: INTRUDER})
    return shipped


def _renamed(shipped: dict[str, Any], vhost: str, suffix: str) -> dict[str, Any]:
    """Return the definitions for another vhost, and for users that nobody else has."""
    kept = {key: value for key, value in shipped.items() if isinstance(value, list)}
    for entry in (entry for entries in kept.values() for entry in entries):
        if "vhost" in entry:
            entry["vhost"] = vhost
        if "user" in entry:
            entry["user"] += suffix
    users = [
        {key: value for key, value in user.items() if "hash" not in key}
        | {"name": user["name"] + suffix, "tags": user.get("tags", [])}
        for user in kept["users"]
    ]
    return {**kept, "users": users, "vhosts": [{"name": vhost}]}


def _most_bytes(shipped: Mapping[str, Any]) -> dict[str, int]:
    """Tell what each queue's arguments say, or else its policy; 0 where there is no limit."""
    found = {}
    for queue in shipped["queues"]:
        name = str(queue["name"])
        matching = [it for it in shipped.get("policies", ()) if re.search(it["pattern"], name)]
        chosen = max(matching, key=lambda it: int(it.get("priority", 0)), default=None)
        policy = 0 if chosen is None else chosen["definition"].get("max-length-bytes", 0)
        found[name] = int(queue["arguments"].get("x-max-length-bytes", policy))
    return found


def _as_user(amqp_url: str, user: str, password: str) -> str:
    parts = urlsplit(amqp_url)
    address = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=f"{user}:{password}@{address}").geturl()
