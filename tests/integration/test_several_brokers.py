"""A URL of several brokers: clients and workers go to the next one when theirs is gone or silent.

The brokers are proxies to one: what each of them is told to do is all that differs.
"""

import asyncio
import logging
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest

from devstack import TcpProxy
from devstack.servers._ports import free_port
from devstack.workers import Fleet
from idalloc_client import AsyncIdClient, IdClient
from tests.descriptors import connections_to
from tests.waiting import wait_until

TAG = "test_business"
HEARTBEAT = 2
"""Seconds: the shortest one that leaves a busy machine time to send it."""


@pytest.fixture
def proxies(fleet: Fleet) -> Iterator[list[TcpProxy]]:
    parts = urlsplit(fleet.amqp_url)
    with ExitStack() as stack:
        yield [
            stack.enter_context(TcpProxy(parts.hostname or "", parts.port or 5672))
            for _ in range(3)
        ]


def at(fleet: Fleet, *ports: int) -> str:
    parts = urlsplit(fleet.amqp_url)
    hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
    netloc = f"{parts.username}:{parts.password}@{hosts}"
    return parts._replace(netloc=netloc, query=f"heartbeat={HEARTBEAT}").geturl()


def the_one_in_use(proxies: list[TcpProxy]) -> TcpProxy:
    (used,) = [proxy for proxy in proxies if proxy.connections]
    return used


def ask_in_threads(url: str) -> Generator[int]:
    with IdClient(url) as client:
        while True:
            yield client.next_id(TAG, timeout=60)


def ask_in_tasks(url: str) -> Generator[int]:
    with asyncio.Runner() as runner:

        async def connected() -> AsyncIdClient:
            return AsyncIdClient(url)

        client = runner.run(connected())
        try:
            while True:
                yield runner.run(client.next_id(TAG, timeout=60))
        finally:
            runner.run(client.close())


@pytest.mark.parametrize("ask", [ask_in_threads, ask_in_tasks])
@pytest.mark.parametrize("end", ["drop", "pause"])
def test_a_client_goes_on_at_another_broker(
    fleet: Fleet,
    proxies: list[TcpProxy],
    end: str,
    ask: Callable[[str], Generator[int]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whether its own is lost or says nothing any more; one line says where it went, and why."""
    fleet.start()
    ids = ask(at(fleet, *(proxy.port for proxy in proxies)))
    first = next(ids)
    used = the_one_in_use(proxies)
    used.refuse()
    caplog.clear()
    getattr(used, end)()
    assert next(ids) > first
    ours = [record for record in caplog.records if record.name.startswith("idalloc")]
    (line,) = [record for record in ours if record.levelno >= logging.WARNING]
    now = next(proxy for proxy in proxies if proxy.connections and proxy is not used)
    assert f"Using the broker at 127.0.0.1:{now.port} from now on" in line.getMessage()
    assert f"127.0.0.1:{used.port}: " in line.getMessage()
    used.resume()
    used.refuse(on=False)
    assert next(ids) > first
    assert now.accepted == 1  # it stays where it works
    ids.close()


@pytest.mark.parametrize("ask", [ask_in_threads, ask_in_tasks])
@pytest.mark.parametrize("closed", ["at once", pytest.param("later", marks=pytest.mark.long)])
def test_a_silent_broker_that_was_left_keeps_no_socket(
    fleet: Fleet, proxies: list[TcpProxy], closed: str, ask: Callable[[str], Generator[int]]
) -> None:
    """It answers no goodbye, so it is cut off: after a while, and when the client is closed."""
    fleet.start()
    ids = ask(at(fleet, *(proxy.port for proxy in proxies)))
    next(ids)
    used = the_one_in_use(proxies)
    used.refuse()
    used.pause()
    next(ids)
    assert connections_to(used.port) == 1
    if closed == "later":
        wait_until(lambda: next(ids) and not connections_to(used.port))
    ids.close()
    assert not connections_to(used.port)


def test_a_worker_goes_on_at_another_broker(fleet: Fleet, proxies: list[TcpProxy]) -> None:
    """Each process by itself, those of one group at different brokers as long as there are some."""
    fleet.worker_url = at(fleet, *(proxy.port for proxy in proxies))
    (worker,) = fleet.start(processes=3)
    spread = all(proxy.connections for proxy in proxies)
    assert spread or worker.count_in_log("from now on"), "one that was too slow may be left"
    with IdClient(fleet.amqp_url) as client:
        before = client.next_id(TAG, timeout=60)
        for proxy in proxies[:2]:
            proxy.refuse()
            proxy.pause()
        wait_until(lambda: proxies[2].accepted >= 3)
        assert client.next_id(TAG, timeout=60) != before


def test_brokers_that_do_not_exist_are_passed_over(fleet: Fleet, proxies: list[TcpProxy]) -> None:
    """Whichever of them a client tries first."""
    fleet.start()
    url = at(fleet, free_port(), proxies[0].port, free_port())
    ids = set()
    for _ in range(6):
        with IdClient(url) as client:
            ids.add(client.next_id(TAG, timeout=60))
    assert len(ids) == 6
