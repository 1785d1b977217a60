"""`idalloc dev`, as a team meets it that tests its own caller."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from devstack import TcpProxy
from devstack.workers import Fleet, Worker, through
from idalloc_client import AppTagNotFoundError, BusyError, CallTimeoutError, IdClient
from idalloc_schemas import TagState
from idalloc_worker._probe import probe
from tests.integration.conftest import NO_DATABASE
from tests.waiting import wait_until

Dev = Callable[..., Worker]


def test_faults_are_as_they_were_asked_for(dev: Dev, vhost: str) -> None:
    """Each of them on its tag, and on no other; a tag that is not named does not exist."""
    tags = ("busy", "slow", "gap:step=5", "good")
    faults = ("--fail", "busy=BUSY", "--slow", "slow=0.5", "--gap", "gap=10")
    dev(*(word for tag in tags for word in ("--tag", tag)), *faults)
    with IdClient(vhost, retry=False) as client:
        assert client.next_id("good") == 1
        with pytest.raises(BusyError, match="as idalloc dev was told") as refused:
            client.next_id("busy")
        assert refused.value.retry_after == 0.1
        assert client.next_ids("gap", 12).ranges == ((1, 5), (15, 20), (30, 33))
        with pytest.raises(AppTagNotFoundError):
            client.next_id("oder")
        with pytest.raises(CallTimeoutError):  # the request is over before its turn comes
            client.next_id("slow", timeout=0.2)
        began = time.monotonic()
        assert client.next_id("slow") == 1  # and has used up no id
        assert time.monotonic() - began >= 0.5


def test_ordered_tags_rise_across_callers(dev: Dev, vhost: str) -> None:
    """Through partitions and their owner, as with any worker; and health knows the tag."""
    dev("--tag", "order:step=10,ordered")
    with IdClient(vhost) as one, IdClient(vhost) as other:
        drawn = [client.next_id("order") for _ in range(30) for client in (one, other)]
        assert drawn == sorted(set(drawn))
        with ThreadPoolExecutor(8) as threads:
            batches = threads.map(lambda _: list(one.next_ids("order", 7)), range(20))
            ids = [drawn_id for batch in batches for drawn_id in batch]
        assert len(set(ids)) == 140
        health = one.health("order")
        assert health.database is not False
        assert [tag.state for tag in health.tags] == [TagState.READY]


def test_numbers_per_period_and_tags_on_first_use(dev: Dev, vhost: str) -> None:
    """For callers in any language: the reply tells the period, by this machine's clock."""
    dev("--tag", "invoice:period=year,step=5", "--tag", "tenant-*:new_per_minute=60")
    with IdClient(vhost, retry=False) as client:
        years = {datetime.now(UTC).year}
        first = client.next_number("invoice")
        years.add(datetime.now(UTC).year)  # it may have been the last moment of one
        assert first.period.first.year in years
        assert first.id == 1
        assert [client.next_id("tenant-1"), client.next_id("tenant-2")] == [1, 1]
        with pytest.raises(AppTagNotFoundError):
            client.next_id("other")


def test_it_says_what_it_is_and_stands_alone(dev: Dev, vhost: str, tmp_path: Path) -> None:
    """Loudly; every tag exists, probes answer; and a second one does not start beside it."""
    worker = dev(probe_file=tmp_path / "probe")
    with IdClient(vhost) as client:
        assert [client.next_id("some"), client.next_id("other")] == [1, 1]
        name = client.health("some").worker
        assert name.startswith("idalloc dev ")
    wait_until(lambda: probe("ready", str(tmp_path / "probe")) == 0)
    assert worker.count_in_log("NOT FOR PRODUCTION") == 1
    second = dev()
    assert second.wait() == 1
    assert f"{name} serves on this broker" in second.tail()
    assert worker.terminate() == 0


@pytest.mark.long
def test_ids_go_on_where_the_broker_remembers(dev: Dev, vhost: str) -> None:
    """The fleet's marks outlive a worker of this kind too, though its table does not."""
    with IdClient(vhost) as client:
        drawn = []
        for _ in range(2):
            worker = dev("--tag", "order")
            drawn += list(client.next_ids("order", 10))
            worker.kill()
    assert drawn[:10] == list(range(1, 11))
    assert drawn[10] > 10
    assert worker.count_in_log("ERROR") == 0


@pytest.mark.long
def test_it_waits_for_a_broker(proxy: TcpProxy, vhost: str) -> None:
    """It may start before that does, and finds out then whether it is alone there."""
    proxy.refuse()
    with Fleet(vhost, NO_DATABASE) as fleet:
        fleet.worker_url = through(proxy, vhost)
        worker = fleet.add()
        worker.command = "dev"
        worker.start().wait_for_log("No connection to the broker")
        proxy.refuse(on=False)
        fleet.wait_ready(1)
