"""What the tests of ordered tags share: rows, and a look at who owns which partition."""

import contextlib
import json
import secrets
import time
import urllib.error
from typing import Any, Self
from urllib.parse import quote, unquote, urlsplit

from devstack import Database, Management
from idalloc_worker.tags._partitions import QUEUES, partition_of
from tests.foreign import ForeignClient

PATIENCE = 120.0


def add_ordered_tag(
    database: Database, app_tag: str, step: int = 1000, *, users: str | None = None
) -> None:
    """Add a tag whose row says that it is ordered, and who may draw from it if not everybody."""
    make_columns(database)
    allowed = "NULL" if users is None else f"'{users}'"
    database.query(
        "INSERT INTO segments (app_tag, max_id, step, ordered, allowed_users) "
        f"VALUES ('{app_tag}', 0, {step}, 1, {allowed})"
    )


def make_columns(database: Database) -> None:
    """Have the columns that the settings of ordered tags are in."""
    for name, kind in (("ordered", "TINYINT"), ("allowed_users", "VARCHAR(255)")):
        if not database.query(f"SHOW COLUMNS FROM segments LIKE '{name}'"):
            database.query(f"ALTER TABLE segments ADD COLUMN {name} {kind} NULL")


def next_id(caller: ForeignClient, app_tag: str, patience: float = PATIENCE) -> int:
    """Ask for an id until there is one."""
    deadline = time.monotonic() + patience
    body = json.dumps({"app_tag": app_tag}).encode()
    while time.monotonic() < deadline:
        answer = caller.call("id.alloc", body, timeout=2.0)
        reply = {} if answer is None else json.loads(answer[0])
        if reply.get("resp_code") == 0:
            return int(reply["id"])
    raise AssertionError(f"no id of {app_tag}: {reply}")


class Owners:
    """Looks at the consumers of one vhost through the management API."""

    def __init__(self, management_url: str, amqp_url: str) -> None:
        self._management = Management(management_url)
        self._vhost = quote(unquote(urlsplit(amqp_url).path[1:]), safe="")

    def of(self, app_tag: str) -> dict[str, Any] | None:
        """Find the active consumer of a tag's partition: its tag and its connection's name."""
        queue = QUEUES[partition_of(app_tag)]
        with contextlib.suppress(urllib.error.URLError):
            consumers = self._management.get(f"/api/consumers/{self._vhost}")
            for consumer in consumers:
                if consumer["queue"]["name"] == queue and consumer.get("active", True):
                    found: dict[str, Any] = consumer
                    return found
        return None

    def worker_of(self, app_tag: str) -> str:
        """Wait until a tag's partition has an owner, and name it."""
        return self.wait_for_other_than("", app_tag)

    def wait_for_other_than(self, worker: str, app_tag: str) -> str:
        """Wait until a tag's partition has an owner that is not this worker, and name it."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if (consumer := self.of(app_tag)) is not None:
                owner = str(consumer["consumer_tag"]).rpartition(" ")[0]
                if owner != worker:
                    return owner
            time.sleep(0.05)
        raise AssertionError(f"nobody else owns the partition of {app_tag}")


class WorkerUser:
    """A RabbitMQ user of its own for workers, whose rights a test changes."""

    def __init__(self, management_url: str, amqp_url: str) -> None:
        self._management = Management(management_url)
        self._parts = urlsplit(amqp_url)
        self._vhost = quote(unquote(self._parts.path[1:]), safe="")
        self.name = f"worker-{secrets.token_hex(4)}"

    @property
    def amqp_url(self) -> str:
        address = self._parts.netloc.rpartition("@")[2]
        return self._parts._replace(netloc=f"{self.name}:secret@{address}").geturl()

    def may(self, *, read: str, configure: str = "^$", write: str = "^amq\\.default$") -> None:
        """Grant these rights, and no others but to write to the default exchange."""
        rights = {"configure": configure, "write": write, "read": read}
        self._management.put(f"/api/permissions/{self._vhost}/{self.name}", rights)

    def __enter__(self) -> Self:
        self._management.put(f"/api/users/{self.name}", {"password": "secret", "tags": ""})
        return self

    def __exit__(self, *_: object) -> None:
        self._management.delete(f"/api/users/{self.name}")
