"""Nodes of a RabbitMQ cluster die, freeze and stop under load, and callers notice slow calls only.

The cluster is that of `IDALLOC_CLUSTER_*` (`devstack/clusters/_given_rabbitmq.py`), or three nodes
of the RabbitMQ that is installed.
"""

import os
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devstack import Database
from devstack.clusters import BrokerCluster, GivenRabbitMqCluster, RabbitMqCluster
from devstack.history import check, fleet_disorders
from devstack.history import load as read
from devstack.ordered import add_ordered_tag
from devstack.servers._rabbitmq import find_rabbitmq
from devstack.workers import Fleet
from idalloc_schemas import ALLOC_QUEUE
from idalloc_worker.tags._partitions import QUEUES, partition_of
from tests.conftest import PATIENT
from tests.faults.conftest import Load

pytestmark = pytest.mark.cluster

ORDERED = "order"
PLAIN = "test_business"
CALLERS = 6
WORKERS = 4
FREEZE = float(os.environ.get("IDALLOC_TEST_FREEZE", "20"))  # seconds
LONGEST_AFTER_A_FREEZE = 30.0
LONGEST = 15.0
"""Seconds that a call may take after a kill or a stop: three times the bar, for busy machines."""

PARTITION = QUEUES[partition_of(ORDERED)]


@pytest.fixture(scope="module")
def cluster() -> Iterator[BrokerCluster]:
    if GivenRabbitMqCluster.is_given():
        yield GivenRabbitMqCluster()
        return
    if find_rabbitmq() is None:
        pytest.skip("needs RabbitMQ: apt-get install rabbitmq-server")
    with RabbitMqCluster() as running:
        yield running


@pytest.fixture
def vhost(cluster: BrokerCluster) -> Iterator[str]:
    with cluster.vhost(f"idalloc-{secrets.token_hex(4)}", quorum=True) as name:
        yield name
        cluster.heal()
        cluster.wait_until_whole(name)


class Run:
    """Callers at work, and how long their calls took meanwhile."""

    def __init__(self, cluster: BrokerCluster, vhost: str, load: Load, folder: Path) -> None:
        self.cluster = cluster
        self.url = cluster.url(vhost)
        self._vhost = vhost
        self._load = load
        self._folder = folder
        self.longest: dict[str, float] = {}

    def fault(
        self, name: str, queue: str, do: Callable[[int], None], undo: Callable[[int], None]
    ) -> None:
        """Do something to the node where a queue's leader is, and note the longest call."""
        self._load.go_on()
        node = self.cluster.leader(self._vhost, queue)
        began = time.monotonic()
        do(node)
        self._load.go_on()
        undo(node)
        self.cluster.wait_until_whole(self._vhost)
        self._load.go_on()
        took = [it.received_at - it.sent_at for it in read(self._folder) if it.received_at > began]
        self.longest[f"{len(self.longest) + 1} {name}"] = round(max(took), 2)

    def freeze(self, node: int) -> None:
        """Stop a node for a while: how long is what this is about."""
        self.cluster.pause(node)
        time.sleep(FREEZE)
        self.cluster.resume(node)


@pytest.fixture
def run(cluster: BrokerCluster, vhost: str, load: Load, tmp_path: Path) -> Run:
    return Run(cluster, vhost, load, tmp_path)


@pytest.mark.parametrize("queue", [ALLOC_QUEUE, PARTITION])
def test_a_node_dies_freezes_stops_and_dies_again(
    run: Run, own_database: Database, load: Load, tmp_path: Path, queue: str
) -> None:
    """No error, no duplicate, no order violation."""
    add_ordered_tag(own_database, ORDERED)
    cluster, url = run.cluster, run.url
    with Fleet(url, own_database.url, PATIENT) as fleet:
        fleet.start(WORKERS, ready=False)
        for worker in fleet.workers:
            worker.wait_for_log("Serving")
            worker.wait_for_log("Ready for ordered tags")
        options = ("--timeout=30", f"--tags={PLAIN},{ORDERED}", "--batch=20", "--pause=0.005")
        load.begin(CALLERS, url, *options)
        run.fault("kill", queue, cluster.kill, cluster.start)
        run.fault("freeze", queue, run.freeze, cluster.rejoin)
        run.fault("stop", queue, cluster.stop, cluster.start)
        run.fault("kill", queue, cluster.kill, cluster.start)
        print(f"longest calls: {run.longest}")  # noqa: T201  # figures for docs/clusters.md
        load.end_without_errors()
    replies = read(tmp_path)
    check(replies).assert_clean()
    disorders = fleet_disorders(it for it in replies if it.app_tag == ORDERED)
    assert not disorders, f"{len(disorders)}; first: {disorders[0]}"
    limits = {name: LONGEST_AFTER_A_FREEZE if "freeze" in name else LONGEST for name in run.longest}
    assert all(run.longest[name] <= limits[name] for name in limits), run.longest
