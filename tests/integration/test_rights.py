"""Callers without the right to send requests, which is to write to the default exchange."""

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from devstack.ordered import WorkerUser
from devstack.workers import Fleet
from idalloc_client import AccessRefusedError, AsyncIdClient, IdClient

LONG = 120.0  # seconds, which nobody waits


@pytest.fixture
def user(fleet: Fleet, management_url: str) -> Iterator[WorkerUser]:
    """Give a user who may connect, and may do nothing there."""
    fleet.start()
    with WorkerUser(management_url, fleet.amqp_url) as nobody:
        nobody.may(read="^$", write="^$")
        yield nobody


def test_every_call_is_told_at_once(user: WorkerUser) -> None:
    """It is an error of its own, not a lack of time; with the right, the same client serves."""
    with IdClient(user.amqp_url, timeout=LONG) as client:
        ids = client.sequence("test_business")
        calls: list[Callable[[], object]] = [
            lambda: client.next_id("test_business"),
            lambda: client.next_ids("test_business", 20_000),
            client.health,
            lambda: client.fleet_health(within=LONG),
            lambda: next(ids),
            lambda: next(ids),
        ]
        for call in calls:
            with pytest.raises(AccessRefusedError, match="default exchange") as caught:
                call()
            assert isinstance(caught.value, PermissionError)
        with ThreadPoolExecutor(50) as pool:
            crowd = [pool.submit(client.next_id, "test_business") for _ in range(500)]
        assert {type(call.exception()) for call in crowd} == {AccessRefusedError}
        assert client.stats().waiting == 0
        user.may(read="^$")
        assert again(client) >= 1
        assert next(ids) >= 1


def again(client: IdClient) -> int:
    """Ask until the client has another channel."""
    while True:
        try:
            return client.next_id("test_business")
        except AccessRefusedError:
            time.sleep(0.05)


def test_every_task_is_told_at_once(user: WorkerUser) -> None:
    """The same on asyncio."""

    async def run() -> None:
        async with AsyncIdClient(user.amqp_url, timeout=LONG) as client:
            ids = client.sequence("test_business")
            calls = [
                client.next_id("test_business"),
                client.next_ids("test_business", 20_000),
                client.health(),
                client.fleet_health(within=LONG),
                anext(ids),
            ]
            for call in calls:
                with pytest.raises(AccessRefusedError):
                    await call
            crowd = (client.next_id(f"tag-{number % 7}") for number in range(500))
            outcomes = await asyncio.gather(*crowd, return_exceptions=True)
            assert {type(outcome) for outcome in outcomes} == {AccessRefusedError}
            assert client.stats().waiting == 0

    asyncio.run(run())
