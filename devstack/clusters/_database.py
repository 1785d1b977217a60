"""What every cluster of databases can do for a test, whichever kind it is of."""

import time
from collections.abc import Sequence
from typing import Protocol

from devstack.servers._errors import ServerFailedError
from idalloc_worker.mysql import MySqlAddress
from idalloc_worker.store import AdminSession

_PATIENCE = 180.0


class DatabaseNode(Protocol):
    """A server of a cluster, to be ended, held up, and started again with its port and data."""

    @property
    def port(self) -> int:
        """Where it listens on 127.0.0.1."""

    def start(self) -> None:
        """Start it and return when it has joined the others."""

    def stop(self) -> None:
        """Stop it in an orderly way."""

    def kill(self) -> None:
        """Kill it."""

    def pause(self) -> None:
        """Stop all its processes in their tracks; connections stay open."""

    def resume(self) -> None:
        """Let it go on."""

    def online(self) -> int:
        """Count those that it sees in service, itself among them; 0 while it is not."""


class DatabaseCluster(Protocol):
    """Servers that keep the same data."""

    user: str
    password: str
    database: str
    """Where tests may make tables."""

    @property
    def nodes(self) -> Sequence[DatabaseNode]:
        """All of them, in the order in which `url_of` names them."""


def url_of(cluster: DatabaseCluster, *numbers: int) -> str:
    """Name the nodes of these numbers in this order, or all of them, for a worker."""
    nodes = [cluster.nodes[number] for number in numbers] or cluster.nodes
    hosts = ",".join(f"127.0.0.1:{node.port}" for node in nodes)
    return f"mysql://{cluster.user}:{cluster.password}@{hosts}/{cluster.database}"


def wait_until_whole(cluster: DatabaseCluster) -> None:
    """Wait until each node sees all others in service: until then no other may fail."""
    deadline = time.monotonic() + _PATIENCE
    while any(node.online() < len(cluster.nodes) for node in cluster.nodes):
        if time.monotonic() > deadline:
            seen = {node.port: node.online() for node in cluster.nodes}
            raise ServerFailedError(f"the cluster does not become whole: {seen}")
        time.sleep(0.1)


def node_in_use(cluster: DatabaseCluster) -> DatabaseNode:
    """Find the node to which most connections of the tests' user lead."""
    return max(cluster.nodes, key=lambda node: connections_to(cluster, node))


def connections_to(cluster: DatabaseCluster, node: DatabaseNode) -> int:
    """Count the connections of the tests' user, this one's own among them."""
    address = MySqlAddress.parse(url_of(cluster, cluster.nodes.index(node)))
    with AdminSession(address) as session:
        return sum(row[3] == cluster.database for row in session.rows("SHOW PROCESSLIST"))
