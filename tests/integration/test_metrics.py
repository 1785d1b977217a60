"""The metrics of real workers, read over HTTP as Prometheus reads them."""

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from devstack import Database
from devstack.ordered import make_columns
from devstack.servers._ports import free_port
from devstack.workers import Fleet, Worker
from idalloc_client import IdAllocError, IdClient
from idalloc_worker.tags._partitions import QUEUES, partition_of
from tests.foreign import ForeignClient
from tests.scrapes import Scrape, scrape, scrape_until

TAG = "test_business"


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def client(fleet: Fleet) -> Iterator[IdClient]:
    with IdClient(fleet.amqp_url) as ids:
        yield ids


def handed_out(metrics: Scrape) -> float:
    return metrics.sum("idalloc_ids_handed_out_total")


def children(worker: Worker) -> list[int]:
    """List the processes that a supervisor has started."""
    text = Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text()
    return [int(pid) for pid in text.split()]


def test_off_by_default(fleet: Fleet) -> None:
    """A worker that was not told so listens on no port."""
    (worker,) = fleet.start()
    descriptors = [str(it.readlink()) for it in Path(f"/proc/{worker.pid}/fd").iterdir()]
    inodes = {it[8:-1] for it in descriptors if it.startswith("socket:[")}
    listening = {
        fields[9]
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/{worker.pid}/net/{table}").read_text().splitlines()[1:]
        if (fields := line.split())[3] == "0A"
    }
    assert inodes
    assert not inodes & listening


def test_one_process(fleet: Fleet, client: IdClient, port: int, database: Database) -> None:
    """What was asked for, and how it went, is counted by tag, queue and outcome."""
    fleet.start(metrics_port=port)
    client.next_ids(TAG, 500)
    for _ in range(20):
        client.next_id(TAG)
    with pytest.raises(IdAllocError):
        client.next_id("nobody")
    client.health()
    with ForeignClient(fleet.amqp_url) as foreign:
        foreign.call("id.alloc", b"no json")
        foreign.publish("id.alloc", b'{"app_tag":"x"}', reply_to=None)
    dead = {"queue": "id.alloc", "outcome": "dead_lettered"}
    metrics = scrape_until(port, lambda it: it.sum("idalloc_requests_total", **dead))

    alloc = {"process": "1", "queue": "id.alloc"}
    assert metrics.value("idalloc_requests_total", outcome="granted", **alloc) == 21
    assert metrics.value("idalloc_requests_total", outcome="app_tag_not_found", **alloc) == 1
    assert metrics.value("idalloc_requests_total", outcome="invalid_request", **alloc) == 1
    assert metrics.value("idalloc_requests_total", outcome="busy", **alloc) == 0
    assert metrics.value("idalloc_requests_total", queue="id.health", outcome="answered") == 1
    # Two had to wait: the first of the tag, and that for a tag that does not exist.
    assert metrics.value("idalloc_requests_waited_total") == 2
    assert metrics.value("idalloc_request_duration_seconds_count") == 22
    assert metrics.value("idalloc_request_duration_seconds_bucket", le="+Inf") == 22
    assert metrics.value("idalloc_request_duration_seconds_sum") > 0

    assert handed_out(metrics) == 520
    assert metrics.value("idalloc_tag_ids_handed_out_total", tag=TAG) == 520
    ((max_id,),) = database.query("SELECT max_id FROM segments WHERE app_tag = %s", TAG)
    assert metrics.value("idalloc_tag_ids_reserved_total", tag=TAG) == max_id - 1
    assert metrics.value("idalloc_tag_ids_left", tag=TAG) == max_id - 1 - 520
    assert metrics.value("idalloc_tag_step", tag=TAG) == 100_000
    assert metrics.value("idalloc_tag_id_space_used_ratio", tag=TAG) == max_id / (2**63 - 1)
    assert not metrics.find("idalloc_tag_ids_left", tag="nobody")

    assert metrics.value("idalloc_refills_total") == 2
    assert metrics.value("idalloc_refill_failures_total", reason="app_tag_not_found") == 1
    assert metrics.value("idalloc_refill_duration_seconds_count") == 3
    assert metrics.value("idalloc_database_reachable") == 1
    assert metrics.value("idalloc_broker_connected") == 1
    assert metrics.value("idalloc_process_up") == 1
    assert abs(metrics.value("idalloc_start_time_seconds") - time.time()) < 3600
    assert metrics.find("idalloc_build_info")[0].labels["version"]


def test_a_tag_that_becomes_ordered(
    fleet: Fleet, client: IdClient, port: int, database: Database
) -> None:
    """Each request is counted once, at the owner; the tag's counters go on from where they were."""
    make_columns(database)
    (worker,) = fleet.start(metrics_port=port)
    for _ in range(3):
        client.next_id(TAG)
    database.query("UPDATE segments SET ordered = 1 WHERE app_tag = %s", TAG)
    worker.wait_for_log(f"{TAG} is ordered")
    for _ in range(4):
        client.next_id(TAG)
    with ForeignClient(fleet.amqp_url) as foreign:
        foreign.publish(QUEUES[partition_of(TAG)], b"no bundle")
    dead = {"queue": "id.ordered", "outcome": "dead_lettered"}
    metrics = scrape_until(port, lambda it: it.sum("idalloc_requests_total", **dead))

    assert metrics.value("idalloc_ordered_forwarded_total") == 1
    assert metrics.value("idalloc_ordered_owned_total") == 4
    assert metrics.value("idalloc_ordered_unroutable_total") == 0
    assert metrics.value("idalloc_ordered_generations_total") == 0
    assert metrics.value("idalloc_requests_total", queue="id.alloc", outcome="granted") == 7
    assert metrics.value("idalloc_request_duration_seconds_count") == 7
    assert metrics.value("idalloc_tags") == 1
    counted = [
        metrics.value(f"idalloc_tag_ids_{name}", tag=TAG)
        for name in ("handed_out_total", "lost_total", "left")
    ]
    assert counted[0] == 7
    assert counted[1] > 0
    assert metrics.value("idalloc_tag_ids_reserved_total", tag=TAG) == sum(counted)


def test_cover_is_what_is_left_over_the_rate(fleet: Fleet, client: IdClient, port: int) -> None:
    """A tag in use says for how long its ids last; one that is not in use says nothing."""
    fleet.start(metrics_port=port)
    client.next_id(TAG)
    client.next_ids(TAG, 5000)
    cover = "idalloc_tag_cover_seconds"
    metrics = scrape_until(port, lambda it: it.find(cover, tag=TAG))
    elapsed_at_least = metrics.value("idalloc_tag_ids_left", tag=TAG) / 5001
    assert metrics.value(cover, tag=TAG) > elapsed_at_least
    assert metrics.value(cover, tag=TAG) <= 86_400


def test_three_processes(fleet: Fleet, client: IdClient, port: int) -> None:
    """The processes' counters add up to what callers got, at one port."""
    fleet.start(metrics_port=port, processes=3)
    got = sum(len(client.next_ids(TAG, count)) for count in range(1, 151))
    metrics = scrape_until(port, lambda it: handed_out(it) >= got)
    assert handed_out(metrics) == got
    assert metrics.sum("idalloc_tag_ids_handed_out_total", tag=TAG) == got
    assert metrics.sum("idalloc_requests_total", outcome="granted") == 150
    shares = metrics.find("idalloc_ids_handed_out_total")
    assert [share.labels for share in shares] == [{"process": str(n)} for n in (1, 2, 3)]
    assert all(share.value for share in shares), "the broker shares the requests out"


def test_a_killed_process_is_replaced(fleet: Fleet, client: IdClient, port: int) -> None:
    """The endpoint goes on, the others' counters stay, and its successor's start at 0."""
    (worker,) = fleet.start(metrics_port=port, processes=3)
    for _ in range(30):
        client.next_id(TAG)
    before = scrape_until(port, lambda it: handed_out(it) == 30)
    victim = children(worker)[1]
    os.kill(victim, signal.SIGKILL)
    after = scrape_until(
        port,
        lambda it: (
            it.sum("idalloc_process_restarts_total") == 1 and it.sum("idalloc_process_up") == 3
        ),
    )
    (restarted,) = [it for it in after.find("idalloc_process_restarts_total") if it.value]
    replaced = restarted.labels["process"]
    for sample in before.find("idalloc_ids_handed_out_total"):
        process = sample.labels["process"]
        expected = 0 if process == replaced else sample.value
        assert after.value("idalloc_ids_handed_out_total", process=process) == expected
    assert worker.terminate() == 0


@pytest.mark.long
def test_a_hung_process_does_not_hang_the_scrape(fleet: Fleet, client: IdClient, port: int) -> None:
    """It is shown as down, the others as they are; when it goes on, so do its counters."""
    (worker,) = fleet.start(metrics_port=port, processes=2)
    for _ in range(20):
        client.next_id(TAG)
    before = scrape_until(port, lambda it: handed_out(it) == 20)
    hung = children(worker)[0]
    os.kill(hung, signal.SIGSTOP)
    try:
        for _ in range(3):
            during = scrape(port)
            assert during.sum("idalloc_process_up") == 1
            assert len(during.find("idalloc_ids_handed_out_total")) == 1
    finally:
        os.kill(hung, signal.SIGCONT)
    after = scrape_until(port, lambda it: it.sum("idalloc_process_up") == 2)
    assert handed_out(after) == handed_out(before)
    assert worker.terminate() == 0


@pytest.mark.parametrize("processes", [1, 2])
def test_a_port_in_use_is_an_error(fleet: Fleet, processes: int) -> None:
    """The command ends at once and says which setting is to be changed; nothing is left running."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (worker,) = fleet.start(
            ready=False, metrics_port=port, metrics_host="127.0.0.1", processes=processes
        )
        assert worker.wait() == 1
    said = worker.tail()
    assert f"IDALLOC_METRICS_PORT: cannot listen on 127.0.0.1 port {port}: Address already" in said
    assert "Traceback" not in said


def test_silent_connections_do_not_keep_others_out(fleet: Fleet, port: int) -> None:
    """Whoever connects and says nothing holds up nobody."""
    fleet.start(metrics_port=port)
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(20)]
    assert scrape(port).value("idalloc_process_up") == 1
    for connection in silent:
        connection.close()


def test_the_loopback_interface_alone(fleet: Fleet, port: int) -> None:
    """IDALLOC_METRICS_HOST chooses the address; an IPv6 one will do."""
    fleet.start(metrics_port=port, metrics_host="::1")
    assert scrape(port, "[::1]").value("idalloc_process_up") == 1
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
