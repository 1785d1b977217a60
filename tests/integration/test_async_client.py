"""The asyncio client against a real broker and real workers."""

import asyncio
import gc
import os
import random
import subprocess
import sys
import threading
from typing import Any

import pika
import pytest

from devstack import TcpProxy
from devstack.workers import Fleet, blocking_connection, through
from idalloc_client import (
    AppTagNotFoundError,
    AsyncIdClient,
    CallTimeoutError,
    ClientClosedError,
    ConnectionLostError,
    IdAllocError,
    InvalidRequestError,
    NoRouteError,
)
from idalloc_schemas import encode_alloc_success, parse_alloc_request
from tests.descriptors import open_descriptors
from tests.integration.conftest import NO_COPIES
from tests.stub_worker import StubWorker, send


def test_ids_batches_and_health(fleet: Fleet) -> None:
    """The methods return what those of `IdClient` do."""
    fleet.start()

    async def run() -> None:
        async with AsyncIdClient(fleet.amqp_url) as client:
            assert await client.next_id("test_business") == 1
            assert list(await client.next_ids("test_business", 3)) == [2, 3, 4]
            health = await client.health("test_business")
            assert health.tags[0].ids_handed_out == 4
            with pytest.raises(AppTagNotFoundError):
                await client.next_id("nope")
            for tag, count in [("", 1), ("a b", 1), ("a", 0)]:
                with pytest.raises(InvalidRequestError):
                    await client.next_ids(tag, count)

    asyncio.run(run())


def test_many_tasks_make_few_requests(fleet: Fleet) -> None:
    """Calls of all tasks together are far fewer messages, and no id goes out twice."""
    fleet.start()

    async def run() -> None:
        async with AsyncIdClient(fleet.amqp_url) as client:

            async def draw() -> list[int]:
                return [await client.next_id("test_business") for _ in range(50)]

            drawn = await asyncio.gather(*(draw() for _ in range(200)))
            counters = (await client.health()).counters
        ids = [value for mine in drawn for value in mine]
        assert len(set(ids)) == 10_000
        assert all(mine == sorted(mine) for mine in drawn)
        assert counters["requests"] < 2_000

    asyncio.run(run())


def test_no_route_and_timeout(vhost: str) -> None:
    """A missing queue is told at once; a silent one at the deadline, each caller at its own."""

    async def run() -> None:
        async with AsyncIdClient(vhost, timeout=60) as client:
            with pytest.raises(NoRouteError):
                await client.next_id("order")
            with blocking_connection(vhost) as connection:
                connection.channel().queue_declare("id.alloc", durable=True)
            long = asyncio.ensure_future(client.next_id("order"))
            with pytest.raises(CallTimeoutError):
                await client.next_id("order", timeout=0.2)
            assert not long.done()
            long.cancel()

    asyncio.run(run())


def test_cancelled_calls_leave_nothing_behind(fleet: Fleet) -> None:
    """Tasks that are cancelled or run out of time at random take nothing from the others."""
    fleet.start()
    chance = random.Random(5)

    async def run() -> None:
        async with AsyncIdClient(fleet.amqp_url) as client:
            await client.next_id("test_business")
            descriptors = open_descriptors()
            patient: list[asyncio.Task[int]] = []
            for _ in range(100):
                calls = [
                    asyncio.create_task(
                        client.next_id("test_business", timeout=chance.choice([0.0005, 0.002, 30]))
                    )
                    for _ in range(50)
                ]
                patient += [
                    asyncio.create_task(client.next_id("test_business", timeout=30))
                    for _ in range(20)
                ]
                await asyncio.sleep(chance.random() * 0.003)
                for call in chance.sample(calls, 25):
                    call.cancel()
                await asyncio.gather(*calls, return_exceptions=True)
            ids = await asyncio.gather(*patient)
            assert len(set(ids)) == 2000
            session: Any = client._session
            while session.batcher.calls:
                await client.next_id("test_business")
            assert not list(session.batcher.waiters())
            assert not len(session._pending)
            assert len(asyncio.all_tasks()) == 1
            assert open_descriptors() == descriptors

    threads = threading.active_count()
    asyncio.run(run())
    assert threading.active_count() == threads


def test_calls_survive_a_lost_connection(vhost: str, proxy: TcpProxy) -> None:
    """They are sent again on the next connection, within their deadline."""
    answering = threading.Event()

    def answer(channel: Any, request: pika.BasicProperties, body: bytes) -> None:
        if answering.is_set():
            count = parse_alloc_request(body).count
            send(channel, request, encode_alloc_success([(5, 5 + count)]))
        else:
            asked.set()

    asked = threading.Event()

    async def run() -> None:
        async with AsyncIdClient(through(proxy, vhost), timeout=30) as client:
            calls = [asyncio.ensure_future(client.next_id(f"order-{n}")) for n in range(10)]
            await asyncio.to_thread(asked.wait, 10)
            answering.set()
            proxy.drop()
            assert await asyncio.gather(*calls) == [5] * 10

    with StubWorker(vhost, answer):
        asyncio.run(run())


def test_calls_wait_for_the_broker(vhost: str, proxy: TcpProxy) -> None:
    """While there is no connection a call waits, and says so at its deadline."""

    async def run() -> None:
        async with AsyncIdClient(through(proxy, vhost)) as client:
            with pytest.raises(ConnectionLostError, match="no connection"):
                await client.next_id("order", timeout=0.5)

    proxy.refuse()
    asyncio.run(run())


def test_close_ends_every_call(vhost: str) -> None:
    """Calls in flight and later ones get `ClientClosedError`; a second close does nothing."""
    with blocking_connection(vhost) as connection:
        connection.channel().queue_declare("id.alloc", durable=True)

    async def run() -> None:
        client = AsyncIdClient(vhost, timeout=60)
        calls = [asyncio.ensure_future(client.next_id("order")) for _ in range(5)]
        health = asyncio.ensure_future(client.health())
        await asyncio.sleep(0.2)
        await client.close()
        outcomes = await asyncio.gather(*calls, health, return_exceptions=True)
        assert all(isinstance(outcome, IdAllocError) for outcome in outcomes)
        await client.close()
        with pytest.raises(ClientClosedError):
            await client.next_id("order")

    asyncio.run(run())
    gc.collect()  # a socket that was left open would warn here, which fails the test


def test_one_loop_only(fleet: Fleet) -> None:
    """A client that is in use on a loop refuses another one, instead of hanging."""
    fleet.start()
    client = AsyncIdClient(fleet.amqp_url)
    first = asyncio.new_event_loop()
    assert first.run_until_complete(client.next_id("test_business")) == 1
    second = asyncio.new_event_loop()
    with pytest.raises(RuntimeError, match="another event loop"):
        second.run_until_complete(client.next_id("test_business"))
    assert first.run_until_complete(client.next_id("test_business")) == 2  # none was spent
    assert client.stats().cancelled == 1
    first.run_until_complete(client.close())
    first.close()
    second.close()


def goodbye(client: AsyncIdClient) -> list[str]:
    """Note how the connection ends, as the broker is told."""
    session: Any = client._session
    link, told = session._link, []
    lost = link._tell_lost
    link._tell_lost = lambda reason: (told.append(type(reason).__name__), lost(reason))  # type: ignore[func-returns-value]
    return told


@pytest.mark.parametrize("end", ["stopped", "closed"])
def test_closing_on_another_loop(fleet: Fleet, end: str) -> None:
    """A loop that has ended cannot close anything: another one says goodbye, and waits for none."""
    fleet.start()
    client = AsyncIdClient(fleet.amqp_url)
    first = asyncio.new_event_loop()
    assert first.run_until_complete(client.next_id("test_business")) == 1
    told = goodbye(client)
    if end == "closed":
        first.close()
    descriptors = open_descriptors()
    asyncio.run(client.close())
    assert told == ["ConnectionClosedByClient"]
    assert open_descriptors() == descriptors - 1
    first.close()


def test_closing_from_another_thread(fleet: Fleet) -> None:
    """A loop that runs there closes the connection; calls that wait there end."""
    fleet.start()
    client = AsyncIdClient(fleet.amqp_url)
    outcome: list[object] = []
    waits, closed = threading.Event(), threading.Event()

    async def there() -> None:
        await client.next_id("test_business")
        call = asyncio.ensure_future(client.next_id("nobody-has-this", timeout=60))
        await asyncio.sleep(0)
        waits.set()
        outcome.extend(await asyncio.gather(call, return_exceptions=True))
        await asyncio.get_running_loop().run_in_executor(None, closed.wait, 60)

    thread = threading.Thread(target=asyncio.run, args=(there(),))
    thread.start()
    assert waits.wait(60)
    told = goodbye(client)
    asyncio.run(client.close())
    assert told == ["ConnectionClosedByClient"]
    closed.set()
    thread.join()
    assert isinstance(outcome[0], IdAllocError)


OUTLIVED_LOOP = """
import asyncio, sys
from idalloc_client import AsyncIdClient
client = AsyncIdClient(sys.argv[1])
for _ in range(3):
    try:
        print(asyncio.run(client.next_id("test_business")), flush=True)
    except RuntimeError as error:
        print(error, flush=True)
"""


def test_a_loop_that_is_closed_is_another_one(fleet: Fleet) -> None:
    """A client that outlives its loop says what is wrong."""
    fleet.start()
    command = [sys.executable, "-W", "ignore", "-c", OUTLIVED_LOOP, fleet.amqp_url]
    environment = {**os.environ, "PYTHONPATH": str(NO_COPIES)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    refused = "this client is in use on another event loop: create one for each"
    assert done.stdout.splitlines() == ["1", refused, refused]


def test_sequences(fleet: Fleet) -> None:
    """Ids come from leases, each once; closing counts what is left."""
    fleet.start()

    async def run() -> None:
        async with AsyncIdClient(fleet.amqp_url) as client:
            with client.sequence("test_business", floor=10) as ids:

                async def draw() -> list[int]:
                    return [await anext(ids) for _ in range(500)]

                drawn = await asyncio.gather(*(draw() for _ in range(20)))
                assert ids.cover > 0
            flat = [value for mine in drawn for value in mine]
            assert len(set(flat)) == 10_000
            assert ids.left == 0
            with pytest.raises(ClientClosedError):
                await anext(ids)
            missing = client.sequence("nope")
            for _ in range(2):
                with pytest.raises(AppTagNotFoundError):
                    await anext(missing)

    asyncio.run(run())
