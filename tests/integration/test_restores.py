"""Clients whose process is restored from a snapshot, as far as a process can notice."""

import asyncio
import threading
import time
from typing import Any

import pika
import pytest

from idalloc_client import AsyncIdClient, IdClient, after_restore
from idalloc_client._memory import MEMORY, Process
from idalloc_schemas import encode_alloc_success
from tests.stub_worker import StubWorker, send

OLD, NEW = 111, 222


class Twice:
    """Answers the first request only once memory was set back, and then those that come again."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.restored = threading.Event()
        self.connections = 0

    def __call__(self, channel: Any, request: pika.BasicProperties, _body: bytes) -> None:
        self.connections += 1
        first = self.connections == 1
        if first:
            self.asked.set()
            self.restored.wait(60)
        left = OLD if first else NEW
        send(channel, request, encode_alloc_success([(left, left + 1)]))


@pytest.fixture
def clock_gap(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Give the seconds by which the wall clock is ahead of the monotonic one."""
    gap = [time.time() - time.monotonic()]
    monkeypatch.setattr(MEMORY, "_process", Process(lambda: gap[0]))
    return gap


@pytest.mark.parametrize("noticed_by", ["hook", "clocks"])
def test_a_call_in_flight_is_asked_again(
    vhost: str, noticed_by: str, clock_gap: list[float]
) -> None:
    """An answer that was under way may have been taken already, before the process was set back."""
    worker = Twice()

    def restore() -> None:
        worker.asked.wait(60)
        if noticed_by == "hook":
            after_restore()
        else:
            clock_gap[0] += 3600
            for _ in range(6000):  # the client's thread looks now and then
                if MEMORY.process().restores:
                    break
                time.sleep(0.01)
        worker.restored.set()

    thread = threading.Thread(target=restore)
    thread.start()
    with StubWorker(vhost, worker), IdClient(vhost) as client:
        assert client.next_id("order", timeout=60) == NEW
        assert client.stats().connections_lost == 1
    thread.join()


def test_a_task_in_flight_is_asked_again(vhost: str, clock_gap: list[float]) -> None:
    """The same on asyncio."""
    worker = Twice()

    async def run() -> None:
        async with AsyncIdClient(vhost) as client:
            call = asyncio.ensure_future(client.next_id("order", timeout=60))
            await asyncio.get_running_loop().run_in_executor(None, worker.asked.wait, 60)
            after_restore()
            worker.restored.set()
            assert await call == NEW
            assert client.stats().connections_lost == 1

    with StubWorker(vhost, worker):
        asyncio.run(run())
