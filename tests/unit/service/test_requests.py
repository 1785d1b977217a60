"""A request as it is delivered: who follows it, and what that costs those that nobody follows."""

from types import SimpleNamespace
from typing import Any

import pytest

from idalloc_client.amqp._io._frames import Properties
from idalloc_schemas import ALLOC_QUEUE
from idalloc_worker.engine._engine import Engine, EngineLimits
from idalloc_worker.ordered._owner_session import BundledRequest
from idalloc_worker.requests._session import Delivery
from idalloc_worker.requests._stalls import StallGuard
from idalloc_worker.service._requests import Requests
from tests.runtimes import no_periods, runtime

PARENT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TABLE = b"\x00\x00\x00\x47\x0btraceparentS\x00\x00\x00\x37" + PARENT
BODY = b'{"app_tag":"order"}'


class FakeTraces:
    """Follows what it is told to."""

    def __init__(self) -> None:
        self.begun: list[tuple[bytes | None, str, str]] = []
        self.waiting: list[bool] = []

    def begin(
        self, traceparent: bytes | None, message: Any, queue: str, age: float = 0.0
    ) -> "FakeTraces":
        assert age == 0.0
        self.begun.append((traceparent, message.request.app_tag, queue))
        return self

    def waits(self, *, ordered: bool) -> None:
        self.waiting.append(ordered)


class Bench:
    """A worker that has no ids yet."""

    def __init__(self, traces: FakeTraces | None) -> None:
        nothing = SimpleNamespace(run_soon=lambda: None, known=frozenset(), taken=0, held={})
        self.refused: list[Any] = []
        outside: Any = nothing
        responder: Any = SimpleNamespace(
            stalls=StallGuard(1000.0), refuse=lambda *about: self.refused.append(about)
        )
        self.requests = Requests(
            *(runtime(traces=traces), Engine(EngineLimits()), outside, outside, responder),
            *(outside, outside, no_periods()),
        )

        self.parts: Any = self.requests  # to play with what is inside

    def take(self, table: bytes | None, body: bytes = BODY) -> Delivery:
        session: Any = SimpleNamespace(addresses=SimpleNamespace(admitted={b"q"}))
        delivery = Delivery(session, 1, ALLOC_QUEUE, b"q", b"1", redelivered=False)
        self.requests.take(delivery, Properties(table=table), body)
        return delivery


def test_a_request_with_a_context_is_followed_until_it_waits() -> None:
    """By what its sender wrote into a header."""
    traces = FakeTraces()
    delivery = Bench(traces).take(TABLE)
    assert delivery.trace
    assert traces.begun == [(PARENT, "order", ALLOC_QUEUE)]
    assert traces.waiting == [False]


@pytest.mark.parametrize("traces", [FakeTraces(), None], ids=["with", "without"])
def test_a_request_without_headers_costs_nothing(traces: FakeTraces | None) -> None:
    """Nobody is asked about it, whether there is OpenTelemetry or not."""
    assert Bench(traces).take(None).trace is None
    assert traces is None or not traces.begun


def test_headers_are_nothing_where_nobody_shows_traces() -> None:
    """They are not looked at."""
    assert Bench(None).take(TABLE).trace is None


def test_a_request_that_is_none_is_refused_before_anybody_follows_it() -> None:
    """It names no tag that could be shown."""
    traces = FakeTraces()
    bench = Bench(traces)
    bench.take(TABLE, b"{}")
    assert len(bench.refused) == 1
    assert not traces.begun


def test_what_waited_for_its_period_is_not_answered_for_a_channel_that_has_ended() -> None:
    """The worker may own its tag's partition no more, and the broker delivers it anew."""
    bench = Bench(None)
    drawn: list[Any] = []
    bench.parts._ordered = SimpleNamespace(draw=lambda request, _now: drawn.append(request))
    for usable in (False, True):
        session: Any = SimpleNamespace(usable=usable)
        request = BundledRequest(session, 1, ALLOC_QUEUE, b"q", None, redelivered=False)
        bench.parts._again(request)
        assert drawn == [request] * usable
