"""A fleet with two database hosts, under load, while its primary dies, changes or stops writing."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devstack import ReplicatedPair, replicated_pair, set_read_only
from devstack.history import check
from devstack.history import load as read
from devstack.promotions import LOAD, STEP, TAG, Site, replicated_site, rewinds_repaired
from devstack.workers import PATIENCE, Fleet
from idalloc_client import IdClient, NoAvailableIdError
from tests.faults.conftest import Load

CALLERS = 4


@pytest.fixture
def pair() -> Iterator[ReplicatedPair]:
    with replicated_pair() as running:
        yield running


@pytest.fixture
def site(pair: ReplicatedPair) -> Iterator[Site]:
    with replicated_site(pair) as created:
        yield created


@pytest.fixture
def workers(vhost: str, site: Site) -> Iterator[Fleet]:
    with Fleet(vhost, site.url) as running:
        yield running


@pytest.mark.parametrize("count", [1, 3])
def test_a_replica_without_the_last_commits_is_promoted(
    count: int, site: Site, workers: Fleet, load: Load, tmp_path: Path
) -> None:
    """The new primary offers ids that went out: none goes out twice, and no caller notices."""
    workers.start(count)
    load.begin(CALLERS, workers.amqp_url, "--timeout=60", *LOAD)
    site.wait_for_mark(2 * count * STEP)
    lost = site.lose_commits_and_promote()
    site.wait_for_mark(lost + 3 * count * STEP)  # until what was held at that time has gone out
    with IdClient(workers.amqp_url) as client:
        assert rewinds_repaired(client, count) >= 1
    load.end_without_errors()
    check(read(tmp_path)).assert_clean()


def test_a_switch_of_roles_is_not_noticed(
    site: Site, workers: Fleet, load: Load, tmp_path: Path
) -> None:
    """When the primary becomes read-only and the replica takes over, the workers move, and back."""
    workers.start(2)
    load.begin(CALLERS, workers.amqp_url, "--timeout=60", *LOAD)
    site.wait_for_mark(4 * STEP)
    for _ in range(2):
        site.switch_over()
        site.pair.follow()
        site.wait_for_mark(site.mark() + 2 * STEP)
    with IdClient(workers.amqp_url) as client:
        assert rewinds_repaired(client, 2) == 0
    load.end_without_errors()
    check(read(tmp_path)).assert_clean()


def test_no_host_takes_writes_for_a_while(
    site: Site, workers: Fleet, load: Load, tmp_path: Path
) -> None:
    """With both read-only callers are told in time; ids flow again when one takes writes."""
    workers.start(2)
    load.begin(CALLERS, workers.amqp_url, "--timeout=60", *LOAD)
    site.wait_for_mark(4 * STEP)
    set_read_only(site.pair.primary, on=True)
    with IdClient(workers.amqp_url, retry=False) as client:
        draw_until(lambda: fails(client))
        promoted = time.monotonic()
        site.pair.promote()
        draw_until(lambda: not fails(client))
    load.go_on()
    for summary in load.end().values():
        assert set(summary.errors) <= {"NoAvailableIdError"}, summary.first_errors
        assert summary.success_times[-1] > promoted
    check(read(tmp_path)).assert_clean()


def fails(client: IdClient) -> bool:
    """Draw one id; the only way to fail is that there is none."""
    try:
        client.next_id(TAG)
    except NoAvailableIdError:
        return True
    return False


def draw_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
