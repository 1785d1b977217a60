"""A cluster of three RabbitMQ nodes of our own on loopback."""

import os
import secrets
import socket
from collections.abc import Callable, Sequence
from functools import partial

from devstack.clusters._broker_cluster import BrokerCluster
from devstack.servers._guarded import Guarded
from devstack.servers._opened import Opened
from devstack.servers._ports import free_port
from devstack.servers._rabbitmq import PrivateRabbitMq, epmd_command
from devstack.servers._server import PrivateServer

_NODES = 3
_CONFIG = """\
cluster_name = {cluster}
cluster_partition_handling = pause_minority
cluster_formation.peer_discovery_backend = classic_config
# A node that is frozen is given up after as many seconds, a quarter more or less; 60 by default.
net_ticktime = 10
"""


class _Epmd(PrivateServer):
    """The name server of all nodes: it lives on when one of them is killed."""

    kind = "epmd"
    probe_errors = (OSError,)

    def __init__(self) -> None:
        super().__init__()
        self.port = free_port()

    def _prepare(self, guarded: Guarded) -> None:
        """Have nothing to write."""

    def _launch(self, guarded: Guarded) -> None:
        environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(guarded.folder)}
        guarded.start(epmd_command(self.port), environment, guarded.folder / "server.log")

    def _probe(self) -> None:
        socket.create_connection(("127.0.0.1", self.port), timeout=5).close()


class RabbitMqNode(PrivateRabbitMq):
    """One node; it forms the cluster if it is the first one, else joins it at its first start."""

    def __init__(self, cluster: str, cookie: str, epmd_port: int, config: str) -> None:
        super().__init__(config=config)
        self._cluster_name, self._cookie, self._epmd_port = cluster, cookie, epmd_port

    def meet(self, names: Sequence[str]) -> None:
        """Say who belongs to the cluster, before the first start."""
        self._config += "".join(
            f"cluster_formation.classic_config.nodes.{number} = {name}\n"
            for number, name in enumerate(names, 1)
        )

    @property
    def _cluster(self) -> str:
        return self._cluster_name

    def _launch_epmd(self, guarded: Guarded) -> None:
        """Use the one that is there."""


class RabbitMqCluster(BrokerCluster, Opened):
    """Three nodes. Each of them is a server that can be killed, paused, stopped, started again."""

    can_divide = True

    def __init__(self, *, config: str = "") -> None:
        super().__init__()
        self._epmd = _Epmd()
        cluster, cookie = f"idalloc-{secrets.token_hex(4)}", secrets.token_hex(16)
        config += _CONFIG.format(cluster=cluster)
        self.nodes = [RabbitMqNode(cluster, cookie, self._epmd.port, config) for _ in range(_NODES)]
        self.names = [node.name for node in self.nodes]
        self.amqp_urls = [node.url for node in self.nodes]
        self.management_urls = [node.management_url for node in self.nodes]
        for node in self.nodes:
            node.meet(self.names)

    def _do(self, action: str, number: int) -> None:
        node = self.nodes[number]
        actions: dict[str, Callable[[], object]] = {
            "kill": node.kill,
            "stop": node.stop,
            "pause": node.pause,
            "resume": node.resume,
            "start": node.start,
            "divide": partial(self._know_each_other, number, cookie="none"),
            "reunite": partial(self._know_each_other, number, cookie="erlang:get_cookie()"),
        }
        actions[action]()

    def _know_each_other(self, number: int, cookie: str) -> None:
        """Have a node take another cookie than its own for that of the others, or the right one.

        Nodes whose cookies differ do not talk, and what connects them is closed first.
        """
        others = ", ".join(f"'{name}'" for name in self.names if name != self.names[number])
        each = f"erlang:set_cookie(Name, {cookie}), erlang:disconnect_node(Name)"
        self.nodes[number].ctl("eval", f"[begin {each} end || Name <- [{others}]].")

    def open(self) -> None:
        """Start the nodes one after the other: the first one is what the others join."""
        self._epmd.start()
        for node in self.nodes:
            node.start()

    def close(self) -> None:
        """End all nodes and remove their folders."""
        for server in (*self.nodes, self._epmd):
            server.close()
