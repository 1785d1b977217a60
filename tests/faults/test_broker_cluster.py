"""Nodes of a RabbitMQ cluster die, freeze and stop under load, and callers notice slow calls only.

The cluster is that of `IDALLOC_CLUSTER_*` (`devstack/clusters/_given_rabbitmq.py`), or three nodes
of the RabbitMQ that is installed.
"""

import contextlib
import os
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devstack import Database
from devstack.clusters import BrokerCluster, GivenRabbitMqCluster, running_rabbitmq_cluster
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
    if not GivenRabbitMqCluster.is_given() and find_rabbitmq() is None:
        pytest.skip("needs RabbitMQ: apt-get install rabbitmq-server")
    with running_rabbitmq_cluster() as running:
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

    @contextlib.contextmanager
    def under_load(self, database: Database) -> Iterator[None]:
        """Have workers and callers run meanwhile; no call may fail."""
        add_ordered_tag(database, ORDERED)
        with Fleet(self.url, database.url, PATIENT) as fleet:
            fleet.start(WORKERS, ready=False)
            for worker in fleet.workers:
                worker.wait_for_log("Serving")
                worker.wait_for_log("Ready for ordered tags")
            options = ("--timeout=30", f"--tags={PLAIN},{ORDERED}", "--batch=20", "--pause=0.005")
            self._load.begin(CALLERS, self.url, *options)
            yield
            print(f"longest calls: {self.longest}")  # noqa: T201  # figures for docs/clusters.md
            self._load.end_without_errors()

    def judge(self) -> None:
        """Hold what was received to the promises, and the longest calls to their limits."""
        replies = read(self._folder)
        check(replies).assert_clean()
        disorders = fleet_disorders(it for it in replies if it.app_tag == ORDERED)
        assert not disorders, f"{len(disorders)}; first: {disorders[0]}"
        for name, took in self.longest.items():
            assert took <= (LONGEST_AFTER_A_FREEZE if "freeze" in name else LONGEST), self.longest

    def cut_off(self, node: int) -> None:
        """Part a node from the others for a while, and restart it if it does not find back."""
        self.cluster.divide(node)
        time.sleep(FREEZE)
        self.cluster.reunite(node)

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
    run: Run, own_database: Database, queue: str
) -> None:
    """No error, no duplicate, no order violation."""
    cluster = run.cluster
    with run.under_load(own_database):
        run.fault("kill", queue, cluster.kill, cluster.start)
        run.fault("freeze", queue, run.freeze, cluster.rejoin)
        run.fault("stop", queue, cluster.stop, cluster.start)
        run.fault("kill", queue, cluster.kill, cluster.start)
    run.judge()


@pytest.mark.parametrize("queue", [ALLOC_QUEUE, PARTITION])
def test_a_node_is_cut_off_from_the_others(run: Run, own_database: Database, queue: str) -> None:
    """It pauses, as the smaller part of the cluster, until it sees the others again; twice."""
    cluster = run.cluster
    if not cluster.can_divide:
        pytest.skip("a cluster of somebody else's cannot be divided: unset IDALLOC_CLUSTER_CONTROL")
    with run.under_load(own_database):
        run.fault("division", queue, run.cut_off, cluster.rejoin)
        run.fault("division", queue, run.cut_off, cluster.rejoin)
    run.judge()
