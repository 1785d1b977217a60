"""Callers of tags that start anew in each period, against a real broker."""

import asyncio
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pika
import pytest

from devstack.workers import PATIENCE
from idalloc_client import AsyncIdClient, IdClient, Period, PeriodError, PeriodId
from idalloc_schemas import encode_alloc_success, parse_alloc_request
from idalloc_worker.cli import run
from tests.stub_worker import StubWorker, send
from tests.waiting import wait_until

NOVEMBER = Period.parse("2026-11")


class Months:
    """Counts anew after so many requests: midnight of a month's end."""

    def __init__(self, requests_a_month: int) -> None:
        self._requests_a_month = requests_a_month
        self._period = NOVEMBER
        self._next = 1
        self.requests = 0
        self.hold = threading.Event()
        self.hold.set()

    def __call__(self, channel: Any, request: pika.BasicProperties, body: bytes) -> None:
        self.hold.wait(PATIENCE)
        asked = parse_alloc_request(body)
        self.requests += 1
        period = self._period if asked.app_tag == "invoice" else None
        left, self._next = self._next, self._next + asked.count
        send(channel, request, encode_alloc_success([(left, self._next)], period))
        if self.requests % self._requests_a_month == 0:
            self._period, self._next = self._period.next(), 1


@pytest.fixture
def months() -> Months:
    return Months(requests_a_month=3)


@pytest.fixture
def broker(vhost: str, months: Months) -> Iterator[str]:
    with StubWorker(vhost, months):
        yield vhost


def test_numbers_come_with_the_period_of_their_reply(broker: str) -> None:
    """One, many, and over the end of a month."""
    with IdClient(broker) as client:
        assert client.next_number("invoice") == PeriodId(NOVEMBER, 1)
        drawn = client.next_numbers("invoice", 3)
        assert drawn == [PeriodId(NOVEMBER, number) for number in (2, 3, 4)]
        client.next_number("invoice")
        assert client.next_number("invoice") == PeriodId(NOVEMBER.next(), 1)


def test_calls_of_many_threads_share_requests(broker: str, months: Months) -> None:
    """No number comes twice in its period, and there are fewer messages than calls."""
    with IdClient(broker, timeout=PATIENCE) as client, ThreadPoolExecutor(64) as threads:
        months.hold.clear()
        calls = [threads.submit(client.next_number, "invoice") for _ in range(64)]
        wait_until(lambda: client.stats().waiting == len(calls))
        months.hold.set()
        drawn = [call.result() for call in calls]
    assert len(set(drawn)) == len(drawn)
    assert months.requests < len(calls)


def test_tasks_share_requests(broker: str, months: Months) -> None:
    """The same for asyncio: numbers with their period, errors for what would lose it."""

    async def main() -> None:
        async with AsyncIdClient(broker, timeout=PATIENCE) as client:
            drawn = await asyncio.gather(*(client.next_number("invoice") for _ in range(500)))
            assert len(set(drawn)) == len(drawn)
            assert months.requests < 50
            assert len(await client.next_numbers("invoice", 7)) == 7
            with pytest.raises(PeriodError, match="next_number"):
                await client.next_id("invoice")
            with pytest.raises(PeriodError, match="next_number"):
                await client.next_ids("invoice", 2)
            with pytest.raises(PeriodError, match="next_number"):
                await anext(client.sequence("invoice"))
            with pytest.raises(PeriodError, match="no periods"):
                await client.next_number("order")
            assert isinstance(await client.next_id("order"), int)

    asyncio.run(main())


def test_bare_ids_are_refused_at_once(broker: str, months: Months) -> None:
    """No call that would lose the period is asked again, and none returns a number."""
    with IdClient(broker) as client:
        for call in (client.next_id, lambda tag: client.next_ids(tag, 2)):
            before = months.requests
            with pytest.raises(PeriodError, match=r"2026-1.*next_number.*'invoice'") as caught:
                call("invoice")
            assert months.requests == before + 1
            assert caught.value.ids.period is not None
        assert client.stats().retried == 0
        ids = client.sequence("invoice")
        for _ in range(3):
            with pytest.raises(PeriodError):
                next(ids)
        assert ids.closed


def test_the_command_line_prints_the_period(
    broker: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before each number, and as a field of the JSON; ordinary ids stand alone."""
    monkeypatch.setenv("IDALLOC_AMQP_URL", broker)

    def told(*arguments: str) -> str:
        assert run(["next", *arguments]) == 0
        return capsys.readouterr().out

    assert told("invoice", "-n", "2") == "2026-11 1\n2026-11 2\n"
    assert json.loads(told("invoice", "--json")) == {
        "app_tag": "invoice",
        "id": 3,
        "ranges": [[3, 4]],
        "period": "2026-11",
    }
    assert told("order") == "4\n"
