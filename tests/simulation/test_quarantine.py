"""What a whole worker does once messages have ended its connection twice."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from pika.exceptions import ConnectionClosedByBroker

from idalloc_client.amqp._io._frames import Properties
from idalloc_schemas import ALLOC_QUEUE, HEALTH_QUEUE, encode_alloc_request
from idalloc_worker.requests._quarantine import ORDERED
from idalloc_worker.tags._partitions import QUEUES
from tests.simulation import _channel
from tests.simulation._bench import NOTHING_FAILS, TAG, Bench
from tests.simulation._weather import Weather
from tests.simulation._worker import SimWorker
from tests.vouched import WORKER_USER, connection_of

JOINED = 5.0  # seconds
POISON = ConnectionClosedByBroker(541, "INTERNAL_ERROR")


class Links:
    """Makes the links beside a worker's own, and notes which of them are open."""

    def __init__(self) -> None:
        self.open: list[str] = []
        self.answered: list[bytes | None] = []
        self.asks = self.confirms_late = False
        self.connection = connection_of(WORKER_USER)
        self.asked: list[Callable[[int, Properties, bytes], None]] = []

    def beside(self, handler: Any, what: str, **_: object) -> Any:
        """Make one; that over which the stream would be read does not come about."""

        def connect() -> None:
            self.open.append(what)
            if what == "(suspects)":
                handler.on_ready(SimpleNamespace(pika_channel=self, reply=self._reply))
            if what == "(singly)" and self.asks:
                handler.on_ready(SimpleNamespace(pika_channel=self, get=self._get))
            for _attempt in range(3):
                if what == "(marks)":
                    handler.on_lost(ConnectionResetError())

        return SimpleNamespace(
            connect=connect,
            begin_stop=lambda _on_stopped: self.open.remove(what),
        )

    def confirm_delivery(self, on_confirm: Callable[[object], None]) -> None:
        self.confirm = on_confirm

    def add_callback(self, *_: object) -> None:
        """Find no queue empty: a message that is asked for comes when the test says so."""

    def _get(self, _queue: str, on_message: Callable[[int, Properties, bytes], None]) -> None:
        self.asked.append(on_message)

    def _reply(
        self, _reply_to: bytes, _envelope: object, correlation_id: bytes | None, _body: bytes
    ) -> None:
        self.answered.append(correlation_id)
        if not self.confirms_late:
            self.confirm(None)


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
    """Aside, and without an acknowledgement: its queue has forgotten it."""
    bench = Bench()
    (worker,) = bench.joined(1)
    lose(bench, worker, 2)
    properties = Properties(reply_to=b"caller", correlation_id=b"7")
    worker.service.on_single(ALLOC_QUEUE, properties, encode_alloc_request(TAG, 1))
    bench.wait(JOINED)
    assert links.answered == [b"7"]
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


@pytest.mark.usefixtures("poison")
def test_a_worker_that_stops_first_answers_what_it_took(links: Links) -> None:
    """What was asked for singly, and what is on its way aside, is nowhere else any more."""
    links.asks = links.confirms_late = True
    bench = Bench()
    (worker,) = bench.joined(1)
    lose(bench, worker, 2)
    drained: list[int] = []
    worker.service.drain(lambda: drained.append(1), patience=1000.0)
    bench.wait(JOINED)
    assert not drained
    properties = Properties(reply_to=b"caller", correlation_id=b"7")
    links.asked[-1](0, properties, encode_alloc_request(TAG, 1))
    bench.wait(JOINED)
    assert (links.answered, drained) == ([b"7"], [])
    links.confirm(None)
    bench.wait(JOINED)
    assert drained == [1]
