"""Real workers and callers while nodes of a database cluster die, freeze, stop and come back."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devstack.clusters import (
    GROUP_URL,
    DatabaseCluster,
    DatabaseNode,
    GaleraCluster,
    GroupReplication,
    node_in_use,
    url_of,
    wait_until_whole,
)
from devstack.history import Reply
from devstack.history import load as read
from devstack.workers import Fleet
from tests.faults.conftest import Load
from tests.faults.sites import CALLERS, LOAD, WORKERS, Site, judge

pytestmark = pytest.mark.cluster

FREEZE = 20.0

KINDS = ["galera", *(["group-replication"] if os.environ.get(GROUP_URL) else [])]


@pytest.fixture(scope="module", params=KINDS)
def cluster(request: pytest.FixtureRequest) -> Iterator[DatabaseCluster]:
    if request.param == "group-replication":
        given = GroupReplication(os.environ[GROUP_URL])
        wait_until_whole(given)
        for node in given.nodes:
            node.expel_at_once()
        yield given
    else:
        with GaleraCluster() as running:
            yield running


@pytest.fixture
def site(cluster: DatabaseCluster) -> Iterator[Site]:
    created = Site.create(cluster)
    yield created
    created.drop()


def killed(node: DatabaseNode, _: Load) -> None:
    node.kill()


def stopped(node: DatabaseNode, _: Load) -> None:
    node.stop()


def frozen(node: DatabaseNode, load: Load) -> None:
    """Go on for as long as it is frozen; the time is what the test is about."""
    began = time.monotonic()
    node.pause()
    try:
        while time.monotonic() < began + FREEZE:
            load.go_on()
    finally:
        node.resume()


Fault = Callable[[DatabaseNode, Load], None]
FAULTS: tuple[Fault, ...] = (killed, frozen, stopped, killed)


def test_the_node_in_use_dies_freezes_and_stops(
    vhost: str, site: Site, load: Load, tmp_path: Path
) -> None:
    """One fault after the other, each once the cluster is whole again: some calls are slow."""
    times = [time.monotonic()]
    with Fleet(vhost, url_of(site.cluster)) as fleet:
        fleet.start(WORKERS, table=site.table)
        load.begin(CALLERS, vhost, *LOAD)
        load.go_on()
        for fault in FAULTS:
            times.append(time.monotonic())
            node = node_in_use(site.cluster)
            fault(node, load)
            load.go_on()
            if fault is not frozen:
                node.start()
            wait_until_whole(site.cluster)
            load.go_on()
        summaries = load.end().values()
    replies = read(tmp_path)
    tell(times, replies)
    judge(replies)
    assert not [it.first_errors for it in summaries if it.errors]


def tell(times: list[float], replies: list[Reply]) -> None:
    """Print what each fault cost: pytest shows it with -rP."""
    ends = [*times[1:], time.monotonic()]
    names = ("nothing", *(fault.__name__ for fault in FAULTS))
    for name, begin, end in zip(names, times, ends, strict=True):
        calls = [it.received_at - it.sent_at for it in replies if begin <= it.sent_at < end]
        slow = sum(call > 1 for call in calls)
        print(f"{name}: longest of {len(calls)} calls {max(calls):.1f} s, {slow} over 1 s")  # noqa: T201
