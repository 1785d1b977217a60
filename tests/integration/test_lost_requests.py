"""A request whose answer does not come, while the connection lives, is sent again in its time."""

import asyncio
from collections import Counter
from typing import Any
from urllib.parse import urlsplit

import pika
import pytest

from devstack import Management
from idalloc_client import AsyncIdClient, CallTimeoutError, IdClient
from idalloc_client._rpc import _pending_calls
from idalloc_schemas import HealthReply, encode_alloc_success
from tests.stub_worker import IdCounter, StubWorker, send
from tests.waiting import wait_until

pytestmark = pytest.mark.copies

SUCCESS = encode_alloc_success([(42, 43)])


class Forgetful:
    """Answers nothing but the last of so many times that a request comes."""

    def __init__(self, times: int, reply: bytes = SUCCESS) -> None:
        self._times = times
        self._reply = reply
        self.seen: Counter[str] = Counter()

    def __call__(self, channel: Any, request: pika.BasicProperties, _body: bytes) -> None:
        name = str(request.correlation_id)
        self.seen[name] += 1
        if self.seen[name] == self._times:
            send(channel, request, self._reply)


@pytest.mark.parametrize("times", [2, 4])
def test_a_lost_request_is_sent_again(vhost: str, times: int) -> None:
    """It keeps its correlation id, so that whichever is answered counts; and it is counted."""
    worker = Forgetful(times)
    with StubWorker(vhost, worker), IdClient(vhost, timeout=60) as client:
        assert client.next_id("test_business") == 42
        assert list(worker.seen.values()) == [times]
        assert client.stats().resent == times - 1


def test_of_a_coroutine_too(vhost: str) -> None:
    """One mechanism serves both clients."""

    async def test() -> None:
        async with AsyncIdClient(vhost, timeout=60) as client:
            assert await client.next_id("test_business") == 42
            assert client.stats().resent == 1

    with StubWorker(vhost, Forgetful(2)):
        asyncio.run(test())


def test_a_lost_question_for_health_is_asked_again(vhost: str) -> None:
    """It has no batch to travel in, and is watched all the same."""
    worker = Forgetful(2, HealthReply(left=7, worker="stub", tags=[], tags_total=0).encode())
    with StubWorker(vhost, worker, "id.health"), IdClient(vhost, timeout=60) as client:
        assert client.health().left == 7


def channels_of(management: Management, amqp_url: str) -> list[dict[str, Any]]:
    """Tell which channels the client has; a list stands for details that are not there yet."""
    vhost = urlsplit(amqp_url).path[1:]
    ours = {
        connection["name"]
        for connection in management.get("/api/connections")
        if str(connection.get("user_provided_name")).startswith("idalloc client")
    }
    return [
        channel
        for channel in management.get("/api/channels")
        if channel["vhost"] == vhost and dict(channel["connection_details"]).get("name") in ours
    ]


def test_a_hiccup_costs_no_more_once_it_is_over(
    vhost: str, management_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker confirms each message while requests are late, and none of a calm client's.

    Calls go on all the time: none is lost or asked for twice as the channel gives way to another.
    """
    monkeypatch.setattr(_pending_calls, "CALM", 1.0)
    management = Management(management_url)

    async def test() -> None:
        async with AsyncIdClient(vhost, timeout=60) as client:
            assert await client.next_id("test_business") == 42
            assert client.stats().resent == 1
            await asyncio.to_thread(wait_until, lambda: list(confirming().values()) == [True])
            (asked,) = confirming()
            async with asyncio.TaskGroup() as callers:
                ended = asyncio.Event()
                for _ in range(10):
                    callers.create_task(call_until(ended, client))
                await asyncio.to_thread(wait_until, lambda: list(confirming().values()) == [False])
                assert asked not in confirming()
                ended.set()
            stats = client.stats()
            assert (stats.resent, stats.late_replies, stats.connects) == (1, 0, 1)

    def confirming() -> dict[int, bool | None]:  # None of one that the interface has only begun on
        return {each["number"]: each.get("confirm") for each in channels_of(management, vhost)}

    with StubWorker(vhost, ForgetfulOnce()):
        asyncio.run(test())


async def call_until(ended: asyncio.Event, client: AsyncIdClient) -> None:
    while not ended.is_set():
        await client.next_id("test_business")


class ForgetfulOnce(IdCounter):
    """Answers the first request when it comes for the second time, and then all."""

    def __init__(self) -> None:
        super().__init__()
        self.next_id = 42
        self._forgot = False

    def __call__(self, channel: Any, request: pika.BasicProperties, body: bytes) -> None:
        if self._forgot:
            super().__call__(channel, request, body)
        self._forgot = True


@pytest.mark.long
def test_a_request_that_nobody_answers_is_sent_a_few_times(vhost: str) -> None:
    """Not at every look: the last one is left alone until the deadline."""
    worker = Forgetful(1000)
    with StubWorker(vhost, worker), IdClient(vhost) as client:
        with pytest.raises(CallTimeoutError):
            client.next_id("test_business", timeout=10)
        (times,) = worker.seen.values()
        assert 2 <= times <= 5
