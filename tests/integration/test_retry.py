"""Clients that ask again: real workers whose database goes away, and stubs that are busy."""

import asyncio
import time
from collections.abc import Awaitable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import pika
import pytest

from devstack import Database, TcpProxy
from devstack.workers import PATIENCE, Fleet, through
from idalloc_client import AsyncIdClient, BusyError, IdClient, NoAvailableIdError
from idalloc_schemas import HEALTH_QUEUE, HealthReply
from tests.stub_worker import StubWorker, send
from tests.waiting import wait_until

TAG = "test_business"
A_SECOND = 10
"""Attempts of a caller, or of callers that travel together, at most."""


@pytest.fixture
def database_proxy(database: Database) -> Iterator[TcpProxy]:
    parts = urlsplit(database.url)
    with TcpProxy(parts.hostname or "", parts.port or 3306) as proxy:
        yield proxy


@pytest.fixture
def amqp_url(vhost: str, database: Database, database_proxy: TcpProxy) -> Iterator[str]:
    """Have a worker that nobody has asked for ids yet, and whose database has just gone away."""
    with Fleet(vhost, through(database_proxy, database.url)) as fleet:
        fleet.start()
        database_proxy.refuse()
        database_proxy.drop()
        yield vhost


def test_threads_notice_nothing_of_a_database_that_comes_back(
    amqp_url: str, database_proxy: TcpProxy
) -> None:
    """Single ids, batches and a sequence are slow, and nobody is asked about too often."""
    with IdClient(amqp_url) as client, ThreadPoolExecutor(10) as pool:
        begun = time.monotonic()
        ids = client.sequence(TAG)
        calls: list[Future[Any]] = [pool.submit(client.next_id, TAG) for _ in range(5)]
        calls += [pool.submit(client.next_ids, TAG, 50), pool.submit(next, ids)]
        wait_until(lambda: client.stats().retried >= 20)
        wait_until(lambda: client.stats().sequences.leases_failed >= 4)
        wait_until(lambda: time.monotonic() >= begun + 3.0)
        asked, seconds = client.stats().requests, time.monotonic() - begun
        database_proxy.refuse(on=False)
        drawn = [call.result(PATIENCE) for call in calls]
        stats = client.stats()
    assert len(drawn) == 7
    assert set(stats.failed) == {"NoAvailableIdError"}  # leases, which nobody heard of
    assert sum(stats.failed.values()) == stats.sequences.leases_failed
    assert asked <= 2 * A_SECOND * seconds  # the calls, and the sequence


def test_tasks_notice_nothing_of_a_database_that_comes_back(
    amqp_url: str, database_proxy: TcpProxy
) -> None:
    """The same on asyncio."""

    async def run() -> None:
        async with AsyncIdClient(amqp_url) as client:
            begun = time.monotonic()
            calls: list[Awaitable[Any]] = [client.next_id(TAG) for _ in range(100)]
            calls += [client.next_ids(TAG, 50), anext(client.sequence(TAG))]
            asking = asyncio.gather(*calls)
            while client.stats().retried < 200 or time.monotonic() < begun + 3.0:
                assert time.monotonic() < begun + PATIENCE
                await asyncio.sleep(0.01)
            asked, seconds = client.stats().requests, time.monotonic() - begun
            database_proxy.refuse(on=False)
            assert len(await asking) == 102
            assert asked <= 2 * A_SECOND * seconds + 10  # once, to find out that there is not one

    asyncio.run(run())


@pytest.mark.long
@pytest.mark.parametrize("timeout", [0.5, 3.0])
def test_a_database_that_stays_away_is_told_at_the_deadline(amqp_url: str, timeout: float) -> None:
    """In the last tenth of a second, with the last answer as the cause; a sequence, too."""
    with IdClient(amqp_url, timeout=timeout) as client:
        warm_up(client)
        ids = client.sequence(TAG)
        for call in (lambda: client.next_id(TAG), lambda: client.next_ids(TAG, 7), ids.__next__):
            begun = time.monotonic()
            with pytest.raises(NoAvailableIdError, match="refused") as caught:
                call()
            assert time.monotonic() >= begun + timeout - 0.1
            assert isinstance(caught.value.__cause__, NoAvailableIdError)


def warm_up(client: IdClient) -> None:
    """Have a connection, and a worker that has found out that its database is away."""
    with pytest.raises(NoAvailableIdError):
        client.next_id(TAG, timeout=PATIENCE / 10)


def test_the_first_answer(amqp_url: str) -> None:
    """Who wants it gets it, on a call that has all the time: no attempt follows."""
    with IdClient(amqp_url, retry=False) as client:
        with pytest.raises(NoAvailableIdError) as caught:
            client.next_id(TAG)
        with pytest.raises(NoAvailableIdError):
            next(client.sequence(TAG))
        assert caught.value.__cause__ is None
        assert client.stats().retried == 0


class BusyHealth:
    """Refuses the first questions about health."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.asked = 0

    def __call__(self, channel: Any, request: pika.BasicProperties, _body: bytes) -> None:
        self.asked += 1
        if self.asked <= self.times:
            send(channel, request, b'{"resp_code":-6,"msg":"too much","retry_after_ms":10}')
        else:
            send(channel, request, HealthReply(left=7, worker="w", tags=[], tags_total=0).encode())


def test_health_is_asked_again(vhost: str) -> None:
    """BUSY is about the moment; who wants the first answer gets it."""
    answers = BusyHealth(2)
    with StubWorker(vhost, answers, HEALTH_QUEUE), IdClient(vhost) as client:
        assert client.health().left == 7
        assert answers.asked == 3
        answers.asked = -1000
        with pytest.raises(BusyError, match=r"refused \d+ times"):
            client.health(timeout=1.0)
        with IdClient(vhost, retry=False) as hasty, pytest.raises(BusyError, match=r"too much$"):
            hasty.health()


def test_tasks_ask_for_health_again(vhost: str) -> None:
    """The same on asyncio."""
    answers = BusyHealth(2)

    async def run() -> None:
        async with AsyncIdClient(vhost) as client:
            assert (await client.health()).left == 7
            answers.asked = -1000
            with pytest.raises(BusyError, match=r"refused \d+ times"):
                await client.health(timeout=1.0)

    with StubWorker(vhost, answers, HEALTH_QUEUE):
        asyncio.run(run())
