"""A cluster of RabbitMQ nodes to break, whoever runs it: nodes by number, leaders of queues."""

import abc
import contextlib
import socket
import time
import urllib.error
from collections.abc import Iterator
from http.client import HTTPException
from typing import Any, Final
from urllib.parse import quote, urlsplit

import pika
import pika.exceptions

from devstack.servers._management import Management
from idalloc_worker.broker_setup import Broker

PATIENCE: Final = 180.0
_PAUSE: Final = 0.2
_BY_ITSELF: Final = 20.0  # seconds for a node to be one of the cluster's again
_NOT_YET: Final = (
    OSError,
    urllib.error.URLError,
    HTTPException,
    pika.exceptions.AMQPError,
    KeyError,
    AssertionError,
)


class BrokerCluster(abc.ABC):
    """Nodes count from 0. Whoever asks about queues does it while no node is frozen."""

    amqp_urls: list[str]
    """Of each node, the vhost `/`."""
    management_urls: list[str]
    names: list[str]
    """How the nodes know each other."""
    can_divide = False
    """Whether `divide` is to be had."""

    def __init__(self) -> None:
        self._away: set[int] = set()
        self._frozen: set[int] = set()
        self._apart: set[int] = set()

    # Faults

    def kill(self, number: int) -> None:
        """End a node as a power cut does (SIGKILL)."""
        self._away.add(number)
        self._do("kill", number)

    def stop(self, number: int) -> None:
        """Have a node shut down in order; it is gone when this returns."""
        self._away.add(number)
        self._do("stop", number)
        self._wait(lambda: self._assert_silent(number))

    def pause(self, number: int) -> None:
        """Freeze a node (SIGSTOP): its connections stay open, and nothing comes out of them."""
        self._away.add(number)
        self._frozen.add(number)
        self._do("pause", number)

    def resume(self, number: int) -> None:
        """Let a frozen node go on (SIGCONT)."""
        self._do("resume", number)
        self._frozen.discard(number)
        self._away.discard(number)

    def start(self, number: int) -> None:
        """Start a node that was killed or stopped."""
        self._wait(lambda: self._assert_silent(number))
        self._do("start", number)
        self._away.discard(number)

    def divide(self, number: int) -> None:
        """Cut a node off from the others; callers and workers still reach them all."""
        self._away.add(number)
        self._apart.add(number)
        self._do("divide", number)

    def reunite(self, number: int) -> None:
        """Let a node that was cut off see the others again."""
        self._do("reunite", number)
        self._apart.discard(number)
        self._away.discard(number)

    def heal(self) -> None:
        """Have all nodes run that somebody has left broken."""
        for number in sorted(self._apart):
            self.reunite(number)
        for number in sorted(self._frozen):
            self.resume(number)
        for number in sorted(self._away):
            self.start(number)

    @abc.abstractmethod
    def _do(self, action: str, number: int) -> None:
        """Do one of these to a node."""

    # What there is

    def url(self, vhost: str) -> str:
        """Name all nodes, the first one first."""
        parts = urlsplit(self.amqp_urls[0])
        user = parts.netloc.rpartition("@")[0]
        hosts = ",".join(urlsplit(url).netloc.rpartition("@")[2] for url in self.amqp_urls)
        return f"amqp://{user}@{hosts}/{quote(vhost, safe='')}"

    def node_url(self, number: int, vhost: str) -> str:
        """Name one node."""
        path = f"/{quote(vhost, safe='')}"
        return urlsplit(self.amqp_urls[number])._replace(path=path).geturl()

    @property
    def management(self) -> Management:
        """Ask a node that is there."""
        there = next(n for n in range(len(self.names)) if n not in self._away)
        return Management(self.management_urls[there])

    def leader(self, vhost: str, queue: str) -> int:
        """Tell on which node a queue's leader is, or the whole of a classic queue."""
        path = f"/api/queues/{quote(vhost, safe='')}/{queue}"
        found = self.management.get(path)
        return self.names.index(found.get("leader") or found["node"])

    def rejoin(self, number: int) -> None:
        """Restart a node that was cut off or frozen and does not find back, as operators do.

        RabbitMQ 3 may go on in two parts that see each other, whatever it is told to do then, or
        come back without some virtual host.
        """
        try:
            self._wait(self._assert_together, _BY_ITSELF)
        except _NOT_YET:
            self.stop(number)
            self.start(number)

    def wait_until_whole(self, vhost: str) -> None:
        """Wait until all nodes run, take logins, and have their part of each quorum queue."""
        self._wait(lambda: self._assert_whole(vhost))

    @contextlib.contextmanager
    def vhost(self, name: str, *, quorum: bool, local: bool = False) -> Iterator[str]:
        """Make a virtual host with what is shipped for one, apart from users; yield its name."""
        here = quote(name, safe="")
        definitions = Broker(vhost=name, quorum=quorum, local=local).definitions()
        user = urlsplit(self.amqp_urls[0]).username or ""
        # Nodes that have just joined may fail to start it, or do so later.
        self._wait(lambda: self.management.put(f"/api/vhosts/{here}", {}))
        try:
            everything = {"configure": ".*", "write": ".*", "read": ".*"}
            self.management.put(f"/api/permissions/{here}/{user}", everything)
            kinds = ("exchanges", "policies", "queues", "bindings")
            self.management.post(
                f"/api/definitions/{here}", {kind: definitions[kind] for kind in kinds}
            )
            yield name
        finally:
            self.management.delete(f"/api/vhosts/{here}")

    def _assert_together(self) -> None:
        nodes = self.management.get("/api/nodes")
        assert all(node["running"] and not node["partitions"] for node in nodes), nodes
        assert len(nodes) == len(self.names)
        for vhost in self.management.get("/api/vhosts"):
            assert set(vhost["cluster_state"].values()) == {"running"}, vhost

    def _assert_whole(self, vhost: str) -> None:
        self._assert_together()
        for queue in self.management.get(f"/api/queues/{quote(vhost, safe='')}"):
            # A stream of RabbitMQ 3.10 may do without a replica that was frozen.
            if queue.get("type") == "quorum":
                assert len(queue["online"]) == len(queue["members"]), queue
        for number in range(len(self.names)):
            parameters = pika.URLParameters(self.node_url(number, vhost))
            pika.BlockingConnection(parameters).close()

    def _assert_silent(self, number: int) -> None:
        parts = urlsplit(self.amqp_urls[number])
        with contextlib.suppress(ConnectionRefusedError):
            socket.create_connection((parts.hostname or "", parts.port or 0), 5.0).close()
            raise AssertionError("it listens")

    @staticmethod
    def _wait(assertion: Any, patience: float = PATIENCE) -> None:
        deadline = time.monotonic() + patience
        while True:
            try:
                assertion()
            except _NOT_YET:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_PAUSE)
            else:
                return
