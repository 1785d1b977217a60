"""A request whose answer does not come, while the connection lives, is sent again in its time."""

import asyncio
from collections import Counter
from typing import Any

import pika
import pytest

from idalloc_client import AsyncIdClient, CallTimeoutError, IdClient
from idalloc_schemas import HealthReply, encode_alloc_success
from tests.stub_worker import StubWorker, send

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


@pytest.mark.long
def test_a_request_that_nobody_answers_is_sent_a_few_times(vhost: str) -> None:
    """Not at every look: the last one is left alone until the deadline."""
    worker = Forgetful(1000)
    with StubWorker(vhost, worker), IdClient(vhost) as client:
        with pytest.raises(CallTimeoutError):
            client.next_id("test_business", timeout=10)
        (times,) = worker.seen.values()
        assert 2 <= times <= 5
