"""What a whole worker does once messages have ended its connection twice."""

from types import SimpleNamespace
from typing import Any

import pytest
from pika.exceptions import ConnectionClosedByBroker

from idalloc_client._frames import Properties
from idalloc_schemas import ALLOC_QUEUE, HEALTH_QUEUE, encode_alloc_request
from idalloc_worker._partitions import QUEUES
from idalloc_worker._quarantine import ORDERED
from tests.simulation import _channel
from tests.simulation._bench import NOTHING_FAILS, TAG, Bench
from tests.simulation._weather import Weather
from tests.simulation._worker import SimWorker

JOINED = 5.0  # seconds
POISON = ConnectionClosedByBroker(541, "INTERNAL_ERROR")


class Links:
    """Makes the links beside a worker's own, and notes which of them are open."""

    def __init__(self) -> None:
        self.open: list[str] = []

    def beside(self, handler: Any, what: str, **_: object) -> Any:
        """Make one; that over which the stream would be read does not come about."""

        def connect() -> None:
            self.open.append(what)
            for _attempt in range(3):
                if what == "(marks)":
                    handler.on_lost(ConnectionResetError())

        return SimpleNamespace(
            connect=connect,
            begin_stop=lambda _on_stopped: self.open.remove(what),
        )


@pytest.fixture
def links(monkeypatch: pytest.MonkeyPatch) -> Links:
    made = Links()
    monkeypatch.setattr(SimWorker, "beside", made.beside)
    return made


@pytest.fixture
def poison(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have connections end as RabbitMQ ends them over a message."""
    monkeypatch.setattr(_channel, "StreamLostError", lambda _text: POISON)


def lose(bench: Bench, worker: SimWorker, times: int) -> None:
    for _ in range(times):
        assert worker.connection is not None
        bench.world.broker.cut(worker.connection)
        bench.wait(JOINED)


def consumed(bench: Bench) -> set[str]:
    queues = bench.world.broker.queues
    names = (ALLOC_QUEUE, HEALTH_QUEUE, *QUEUES)
    return {name for name in names if name in queues and queues[name].consumers}


@pytest.mark.usefixtures("poison")
def test_nothing_is_consumed_before_it_is_released(links: Links) -> None:
    """One loss is chance; after the second one each kind of queue waits until it is clean."""
    bench = Bench(Weather(ordered=(TAG,), statements_fail=0, answers_lost=0))
    (worker,) = bench.joined(1)
    lose(bench, worker, 1)
    assert consumed(bench) == {ALLOC_QUEUE, HEALTH_QUEUE, *QUEUES}
    lose(bench, worker, 1)
    assert consumed(bench) == set()
    assert "(singly)" in links.open
    worker.service.on_released(ORDERED)
    bench.wait(JOINED)
    assert consumed(bench) == set(QUEUES)
    worker.service.on_released(HEALTH_QUEUE)
    worker.service.on_released(ALLOC_QUEUE)
    bench.settle()
    assert consumed(bench) == {ALLOC_QUEUE, HEALTH_QUEUE, *QUEUES}


@pytest.mark.usefixtures("poison")
def test_a_request_that_was_taken_singly_is_answered(links: Links) -> None:
    """Without an acknowledgement: its queue has forgotten it."""
    bench = Bench()
    (worker,) = bench.joined(1)
    lose(bench, worker, 2)
    worker.service._desk._wary_until = 0.0  # it is answered on the worker's own channel then
    number = bench.world.judge.asked(TAG)
    properties = Properties(reply_to=b"caller", correlation_id=b"%d" % number)
    worker.service.on_single(ALLOC_QUEUE, properties, encode_alloc_request(TAG, 1))
    bench.wait(JOINED)
    assert bench.answered(number)
    lose(bench, worker, 1)
    assert links.open.count("(singly)") == 1, "one for each connection"


def test_a_broker_that_restarts_is_not_suspected(links: Links) -> None:
    """However often."""
    bench = Bench(NOTHING_FAILS)
    (worker,) = bench.joined(1)
    lose(bench, worker, 3)
    assert {ALLOC_QUEUE, HEALTH_QUEUE} <= consumed(bench)
    assert not links.open


@pytest.mark.usefixtures("poison")
def test_a_worker_that_stops_takes_no_more(links: Links) -> None:
    """What it has not asked for stays in its queue."""
    bench = Bench()
    (worker,) = bench.joined(1)
    lose(bench, worker, 2)
    assert "(singly)" in links.open
    worker.stop()
    bench.wait(JOINED)
    assert "(singly)" not in links.open
    assert not worker.alive
