"""Failures inside pika or of the process do not leave a client or worker without a connection."""

import asyncio
import gc
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from devstack import Database, TcpProxy
from devstack.workers import Fleet, consumer_counts, through
from idalloc_client import AsyncIdClient, IdAllocError, IdClient
from idalloc_client.amqp._io._batched_stream import TcpStream
from tests.descriptors import open_descriptors

STARVED_CALLER = """
import asyncio, resource, sys
from idalloc_client import AsyncIdClient, IdAllocError, IdClient

def starve():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

def threads(url):
    with IdClient(url) as client:
        print(client.next_id("test_business"), flush=True)
        feed = starve()
        input()
        try:
            client.next_id("test_business", timeout=2)
        except IdAllocError as error:
            print(type(error).__name__, flush=True)
        feed()
        print(client.next_id("test_business", timeout=30), flush=True)

async def tasks(url):
    async with AsyncIdClient(url) as client:
        print(await client.next_id("test_business"), flush=True)
        feed = starve()
        input()
        try:
            await client.next_id("test_business", timeout=2)
        except IdAllocError as error:
            print(type(error).__name__, flush=True)
        feed()
        print(await client.next_id("test_business", timeout=30), flush=True)

if sys.argv[1] == "threads":
    threads(sys.argv[2])
else:
    asyncio.run(tasks(sys.argv[2]))
"""


@pytest.mark.parametrize("kind", ["threads", "tasks"])
def test_a_client_outlives_a_lack_of_descriptors(fleet: Fleet, proxy: TcpProxy, kind: str) -> None:
    """A connection that is lost while nothing can be opened comes back when something can."""
    fleet.start()
    command = [sys.executable, "-c", STARVED_CALLER, kind, through(proxy, fleet.amqp_url)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "1\n"
        proxy.drop()
        process.stdin.write("go on\n")
        process.stdin.flush()
        assert process.stdout.readline().endswith("Error\n")
        assert int(process.stdout.readline()) > 1
        assert process.wait(30) == 0


def test_the_worker_outlives_a_lack_of_descriptors(
    fleet: Fleet, proxy: TcpProxy, database: Database
) -> None:
    """It serves again by itself, and has not filled the disk with log lines meanwhile."""
    with Fleet(through(proxy, fleet.amqp_url), database.url) as workers:
        (worker,) = workers.start()
        soft, hard = resource.prlimit(worker.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(worker.pid, resource.RLIMIT_NOFILE, (3, hard))
        proxy.drop()
        worker.wait_for_log("failed unexpectedly")
        time.sleep(1)  # for a storm, if there were one
        resource.prlimit(worker.pid, resource.RLIMIT_NOFILE, (soft, hard))
        deadline = time.monotonic() + 30
        while min(consumer_counts(fleet.amqp_url)) < 1:
            assert time.monotonic() < deadline, worker.tail()
            time.sleep(0.1)
        with IdClient(fleet.amqp_url) as client:
            assert client.next_id("test_business") == 1
        assert len(worker.log.read_text().splitlines()) < 100
        assert worker.terminate() == 0


def test_closing_while_connecting_is_quick_and_quiet(
    fleet: Fleet, proxy: TcpProxy, caplog: pytest.LogCaptureFixture
) -> None:
    """A broker that accepts and says nothing keeps nobody from leaving; no traceback is left."""
    proxy.pause()
    url = through(proxy, fleet.amqp_url)
    client = IdClient(url)
    with ThreadPoolExecutor(1) as threads:
        call = threads.submit(client.next_id, "order", timeout=30)
        while not proxy.connections:
            time.sleep(0.01)
        client.close()
        with pytest.raises(IdAllocError):
            call.result(10)

    async def run() -> None:
        async with AsyncIdClient(url) as other:
            with pytest.raises(IdAllocError):
                await other.next_id("order", timeout=0.3)

    asyncio.run(run())
    ours = [record for record in caplog.records if record.name.startswith(("idalloc", "asyncio"))]
    assert not [record.getMessage() for record in ours if record.exc_info]


def test_a_forgotten_async_client_disconnects(fleet: Fleet) -> None:
    """A client that nobody refers to any more does not keep its connection for ever."""
    fleet.start()

    async def use_and_forget() -> None:
        client = AsyncIdClient(fleet.amqp_url)
        await client.next_id("test_business")

    async def run() -> None:
        before = open_descriptors()
        await use_and_forget()
        gc.collect()
        deadline = time.monotonic() + 20
        while open_descriptors() > before:
            assert time.monotonic() < deadline, "the socket is still open"
            await asyncio.sleep(0.05)

    asyncio.run(run())


def test_an_interrupted_call_leaves_no_entry(fleet: Fleet) -> None:
    """Ctrl-C in the middle of a call, again and again, does not use up the limit of calls."""
    fleet.start()
    (worker,) = fleet.workers
    with IdClient(fleet.amqp_url, max_in_flight=3) as client:
        client.next_id("test_business")
        worker.pause()
        main = threading.main_thread().ident or 0
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            calls: list[Callable[[], object]] = [client.health] * 6
            calls.append(lambda: client.next_id("test_business"))
            for call in calls:
                timer = threading.Timer(0.1, signal.pthread_kill, [main, signal.SIGINT])
                timer.start()
                with pytest.raises(KeyboardInterrupt):
                    call()
                timer.join()
        finally:
            signal.signal(signal.SIGINT, before)
            worker.resume()
        assert client.health(timeout=30).left > 0
        assert client.next_id("test_business", timeout=30) > 1


@pytest.mark.parametrize("failure", [OSError("no"), MemoryError()])
def test_a_write_that_fails_costs_the_connection_only(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    """Half of a frame may have left, so there is a new connection; the thread goes on."""
    fleet.start()
    send, failures = TcpStream._send, iter([failure])

    def failing(stream: TcpStream, data: bytes) -> None:
        for each in failures:
            raise each
        send(stream, data)

    with IdClient(fleet.amqp_url) as client:
        assert client.next_id("test_business") == 1
        monkeypatch.setattr(TcpStream, "_send", failing)
        assert client.next_id("test_business", timeout=30) > 1
        assert client.stats().connections_lost == 1
