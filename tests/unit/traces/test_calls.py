"""What a client shows of calls: a span for each, in its caller's trace, and one for company."""

import asyncio
from concurrent.futures import Future
from typing import Any

import pytest
from opentelemetry import baggage, context, propagate, trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode

from idalloc_client import IdClient
from idalloc_client._batching import _batcher
from idalloc_client._batching._batch_request import BatchRequest
from idalloc_client._traces import CallTrace, _calls
from idalloc_client._traces._calls import begin_call
from tests.unit.batching.test_batcher import World
from tests.unit.batching.test_batcher_retry import TICK

QUEUE = "id.alloc"


class Traces:
    """An application's provider, and what was shown of it."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = provider.get_tracer("test")

    def shown(self) -> list[ReadableSpan]:
        return list(self.exporter.get_finished_spans())

    def ask(self, world: World, caller: str | None = None, **about: Any) -> "Future[Any]":
        """Ask from within a span of this name, or from where there is none."""
        if caller is None:
            return world.ask(**about)
        with self.tracer.start_as_current_span(caller):
            call = begin_call(QUEUE, "a", 1)
        assert call is not None
        promise: Future[Any] = Future()
        promise.add_done_callback(call.on_done)
        world.batcher.add("a", (promise, None, world.now + 5.0), 5.0, call)
        return promise


@pytest.fixture
def traces(monkeypatch: pytest.MonkeyPatch) -> Traces:
    traces = Traces()
    monkeypatch.setattr(_calls, "_TRACER", traces.tracer)
    return traces


def headers_of(request: BatchRequest) -> dict[str, str]:
    assert request.carrier is not None
    return dict(request.carrier.headers or {})


def traceparent(span: Any) -> str:
    about = span.get_span_context()
    return f"00-{about.trace_id:032x}-{about.span_id:016x}-{about.trace_flags:02x}"


def test_nobody_is_followed_who_is_in_no_span(traces: Traces) -> None:
    """Not even with baggage: there is no trace that it could belong to."""
    assert begin_call(QUEUE, "a", 1) is None
    token = context.attach(baggage.set_baggage("tenant", "7"))
    assert begin_call(QUEUE, "a", 1) is None
    context.detach(token)


def test_a_call_is_a_span_in_its_callers_trace(traces: Traces) -> None:
    """By the conventions for messages; its context is what the request takes along."""
    world = World()
    traces.ask(world, "order")
    world.turn()
    (request,) = world.sent
    assert request.carrier is not None
    request.carrier.sent(b"c-1", "rabbitmq", "")
    headers = headers_of(request)
    world.answer()
    caller, call = traces.shown()
    assert call.name == "send id.alloc"
    assert call.kind is SpanKind.PRODUCER
    assert call.parent == caller.context
    assert headers == {"traceparent": traceparent(call)}
    assert call.status.status_code is StatusCode.UNSET
    assert dict(call.attributes or {}) == {
        "messaging.system": "rabbitmq",
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.destination.name": "id.alloc",
        "messaging.message.conversation_id": "c-1",
        "server.address": "rabbitmq",
        "idalloc.app_tag": "a",
        "idalloc.count": 1,
    }


def test_an_exchange_is_part_of_the_destination(traces: Traces) -> None:
    """The span keeps its name, of which there are to be few."""
    world = World()
    traces.ask(world, "order")
    world.turn()
    carrier = world.sent[0].carrier
    assert carrier is not None
    carrier.sent(b"c-1", "rabbitmq", "id.requests")
    world.answer()
    call = traces.shown()[-1]
    assert call.name == "send id.alloc"
    assert (call.attributes or {})["messaging.destination.name"] == "id.requests:id.alloc"


def test_callers_who_share_a_request_keep_their_spans(traces: Traces) -> None:
    """The request is one more, in the first one's trace and with links to them all."""
    world = World()
    for caller in (None, "first", None, "second"):
        traces.ask(world, caller)
    world.turn()
    headers = headers_of(world.sent[0])
    carrier = world.sent[0].carrier
    assert carrier is not None
    carrier.sent(b"c-1", "rabbitmq", "")
    world.answer()
    spans = {span.name: span for span in traces.shown()}
    sends = [span for span in traces.shown() if span.name == "send id.alloc"]
    (together,) = [span for span in sends if span.links]
    calls = [span for span in sends if not span.links]
    assert [call.parent for call in calls] == [spans["first"].context, spans["second"].context]
    assert [link.context for link in together.links] == [call.context for call in calls]
    assert together.parent == calls[0].context
    assert headers == {"traceparent": traceparent(together)}
    assert (together.attributes or {})["idalloc.callers"] == 2
    assert {(span.attributes or {})["server.address"] for span in sends} == {"rabbitmq"}


def test_a_request_has_so_many_links_and_looks_at_so_many_callers(
    traces: Traces, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have any number of callers; those behind have their spans all the same."""
    monkeypatch.setattr(_calls, "MOST_LINKS", 3)
    monkeypatch.setattr(_batcher, "_LOOKED_THROUGH", 5)
    world = World()
    for number in range(8):
        traces.ask(world, f"caller {number}")
    world.turn()
    world.answer()
    sends = [span for span in traces.shown() if span.name == "send id.alloc"]
    assert len(sends) == 9
    (together,) = [span for span in sends if span.links]
    assert len(together.links) == 3
    assert (together.attributes or {})["idalloc.callers"] == 5


def test_a_refusal_is_an_event_and_the_next_request_goes_on(traces: Traces) -> None:
    """Of the call, which goes on; each request has the same context to take along."""
    world = World()
    traces.ask(world, "order")
    world.turn()
    first = headers_of(world.sent[0])
    world.refuse(-1)
    while not world.sent:
        world.pass_time(TICK)
        world.turn()
    assert headers_of(world.sent[0]) == first
    world.answer()
    call = traces.shown()[-1]
    assert call.status.status_code is StatusCode.UNSET
    assert [(event.name, dict(event.attributes or {})) for event in call.events] == [
        ("refused", {"error.type": "NoAvailableIdError"})
    ]


def test_a_request_that_is_sent_again_says_so(traces: Traces) -> None:
    """Over another connection, or as a copy."""
    world = World()
    traces.ask(world, "order")
    world.turn()
    carrier = world.sent[0].carrier
    assert carrier is not None
    for server in ("one", "two"):
        carrier.sent(b"c-1", server, "")
    world.answer()
    (event,) = traces.shown()[-1].events
    assert event.name == "sent again"
    assert (event.attributes or {})["server.address"] == "two"


def test_a_failure_says_of_what_kind_it_is(traces: Traces) -> None:
    """By the name of the error that is raised; the request of several fails with them."""
    world = World(retry=False)
    traces.ask(world, "first")
    traces.ask(world, "second")
    world.turn()
    while world.sent:
        world.refuse(-1)
    failed = [span for span in traces.shown() if span.name == "send id.alloc"]
    assert {span.status.status_code for span in failed} == {StatusCode.ERROR}
    assert {(span.attributes or {})["error.type"] for span in failed} == {"NoAvailableIdError"}


def test_a_thread_ends_its_span_with_what_it_raises(traces: Traces) -> None:
    """Also with what only the thread knows of: its time is over."""
    client = IdClient("amqp://127.0.0.1:1/", timeout=0.01)
    with traces.tracer.start_as_current_span("order"), pytest.raises(Exception) as failure:
        client.next_id("order")
    client.close()
    call, _caller = traces.shown()
    assert (call.attributes or {})["error.type"] == type(failure.value).__name__


def test_a_task_that_is_cancelled_ends_its_span(traces: Traces) -> None:
    """Nobody else will."""

    async def run() -> None:
        with traces.tracer.start_as_current_span("order"):
            call = begin_call(QUEUE, "a", 1)
        assert call is not None
        promise = asyncio.get_running_loop().create_future()
        promise.add_done_callback(call.on_done)
        promise.cancel()
        await asyncio.sleep(0)

    asyncio.run(run())
    assert (traces.shown()[-1].attributes or {})["error.type"] == "CancelledError"


def test_of_callers_that_are_not_recorded_the_context_travels(traces: Traces) -> None:
    """As it is, and the first one's; nothing is shown, and no other is remembered."""
    silent = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False).get_tracer("silent")
    world = World()
    begun: list[CallTrace] = []
    expected: list[str] = []
    for _ in range(3):
        with silent.start_as_current_span("order") as span:
            call = begin_call(QUEUE, "a", 1)
        assert call is not None
        assert not call.recorded
        begun.append(call)
        promise: Future[Any] = Future()
        promise.add_done_callback(call.on_done)
        world.batcher.add("a", (promise, None, 5.0), 5.0, call)
        expected.append(traceparent(span))
    assert len(world.batcher._traces) == 1
    world.turn()
    assert headers_of(world.sent[0]) == {"traceparent": expected[0]}
    world.answer()
    assert not traces.shown()


def test_a_recorded_caller_goes_before_others(traces: Traces) -> None:
    """Who came first in the request and is not recorded has nothing to show."""
    remote = trace.SpanContext(1, 2, is_remote=True)
    world = World()
    token = context.attach(trace.set_span_in_context(trace.NonRecordingSpan(remote)))
    call = begin_call(QUEUE, "a", 1)
    context.detach(token)
    assert call is not None
    promise: Future[Any] = Future()
    world.batcher.add("a", (promise, None, 5.0), 5.0, call)
    traces.ask(world, "order")
    world.turn()
    headers = headers_of(world.sent[0])
    world.answer()
    assert headers == {"traceparent": traceparent(traces.shown()[-1])}


def test_a_propagator_that_fails_costs_no_call(
    traces: Traces, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the application's: what it raises is not the caller's to handle."""

    def fail(*_: object) -> None:
        raise LookupError

    monkeypatch.setattr(propagate, "inject", fail)
    world = World()
    call = traces.ask(world, "order")
    world.turn()
    assert headers_of(world.sent[0]) == {}
    world.answer()
    assert call.result(0) == 1


def test_what_is_followed_is_forgotten_with_its_callers(traces: Traces) -> None:
    """Whoever waits for nothing any more keeps nothing in memory."""
    world = World()
    call = traces.ask(world, "order")
    world.turn()
    assert len(world.batcher._traces) == 1
    world.answer()
    del call
    assert not len(world.batcher._traces)


def test_nothing_is_asked_of_opentelemetry_without_a_context(
    traces: Traces, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One look at the context of the thread or task, and the call goes on as without it."""
    looks: list[object] = []
    monkeypatch.setattr(_calls, "get_current", lambda: looks.append(None))
    monkeypatch.setattr(_calls, "get_current_span", None)
    assert begin_call(QUEUE, "a", 1) is None
    assert looks == [None]
