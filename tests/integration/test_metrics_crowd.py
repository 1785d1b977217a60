"""Connections to the metrics' port that never end: they take nothing from anybody else."""

import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from devstack import Database, TcpProxy
from devstack.servers._ports import free_port
from devstack.workers import Fleet, through
from idalloc_client import IdClient
from idalloc_worker.metrics._admission import MOST_CONNECTIONS
from tests.scrapes import scrape, scrape_until

pytestmark = pytest.mark.long

CROWD = 1250
DESCRIPTORS = 256  # of the worker: less than the crowd would take
PATIENCE = 120.0
TAG = "test_business"


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def _many_descriptors() -> Iterator[None]:
    """Let this process have as many as the crowd needs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4096)), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def connect_slowly(port: int, stack: ExitStack) -> socket.socket:
    """Begin a request, and do not end it."""
    connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE))
    connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: ")
    return connection


def is_open(connection: socket.socket) -> bool:
    connection.settimeout(0)
    try:
        return connection.recv(1) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


@pytest.mark.usefixtures("_many_descriptors")
def test_a_crowd_beside_a_lost_broker(
    vhost: str, database: Database, proxy: TcpProxy, port: int
) -> None:
    """The worker comes back, and whoever asks at once is answered."""
    with ExitStack() as stack:
        fleet = stack.enter_context(Fleet(through(proxy, vhost), database.url))
        (worker,) = fleet.start(metrics_port=port)
        client = stack.enter_context(IdClient(vhost))
        client.next_id(TAG)
        resource.prlimit(worker.pid, resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
        crowd = [connect_slowly(port, stack) for _ in range(CROWD)]
        assert descriptors(worker.pid) < DESCRIPTORS
        proxy.drop()
        assert client.next_id(TAG, timeout=PATIENCE) > 1
        assert scrape(port).value("idalloc_build_info") == 1
        scrape_until(port, lambda it: it.value("idalloc_broker_connected"))
        assert sum(map(is_open, crowd)) <= 2 * MOST_CONNECTIONS
        assert worker.running
