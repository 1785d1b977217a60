"""A RabbitMQ cluster that somebody else started, told by environment variables.

`IDALLOC_CLUSTER_AMQP_URLS` are the URLs of its nodes with commas between them, and
`IDALLOC_CLUSTER_MANAGEMENT_URL` that of one node's management API. `IDALLOC_CLUSTER_CONTROL` is a
command that does something to a node, as in `COMMAND kill rabbit 1`; nodes count from 1 there, and
there are `kill`, `stop`, `pause`, `resume` and `start`.
"""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from devstack.clusters._broker_cluster import BrokerCluster
from devstack.clusters._rabbitmq import RabbitMqCluster
from devstack.servers._management import Management

_LONGEST = 240.0  # seconds that a command may take


class GivenRabbitMqCluster(BrokerCluster):
    """Reads the environment when it is made, and asks the cluster who its nodes are."""

    def __init__(self) -> None:
        super().__init__()
        self._control = os.environ["IDALLOC_CLUSTER_CONTROL"].split()
        self.amqp_urls = os.environ["IDALLOC_CLUSTER_AMQP_URLS"].split(",")
        management_url = os.environ["IDALLOC_CLUSTER_MANAGEMENT_URL"]
        listeners = Management(management_url).get("/api/overview")["listeners"]
        nodes = {it["port"]: it["node"] for it in listeners if it["protocol"] == "amqp"}
        self.names = [nodes[urlsplit(url).port] for url in self.amqp_urls]
        self.management_urls = [_at(management_url, listeners, name) for name in self.names]

    @staticmethod
    def is_given() -> bool:
        """Whether there is one."""
        needed = ("AMQP_URLS", "MANAGEMENT_URL", "CONTROL")
        return all(f"IDALLOC_CLUSTER_{name}" in os.environ for name in needed)

    def _do(self, action: str, number: int) -> None:
        call = [*self._control, action, "rabbit", str(number + 1)]
        subprocess.run(call, check=True, timeout=_LONGEST, stdin=subprocess.DEVNULL)


@contextlib.contextmanager
def running_rabbitmq_cluster() -> Iterator[BrokerCluster]:
    """Give the cluster of the environment, or else one of the RabbitMQ that is installed."""
    if GivenRabbitMqCluster.is_given():
        yield GivenRabbitMqCluster()
    else:
        with RabbitMqCluster() as running:
            yield running


def _at(url: str, listeners: list[dict[str, Any]], name: str) -> str:
    """Turn the URL of one node's API into that of another's, on the same host."""
    port = next(it["port"] for it in listeners if (it["node"], it["protocol"]) == (name, "http"))
    parts = urlsplit(url)
    user = parts.netloc.rpartition("@")[0]
    return parts._replace(netloc=f"{user}@{parts.hostname}:{port}").geturl()
