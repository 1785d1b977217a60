"""The caller's trace context on the wire, as a worker or a tracing broker sees it."""

import asyncio
import threading
from typing import Any, Self

import pika
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from devstack.workers import blocking_connection
from idalloc_client import AsyncIdClient, IdClient
from idalloc_schemas import encode_alloc_success, parse_alloc_request

_TRACER = TracerProvider().get_tracer("test")


class Recorder:
    """Answers requests and keeps their headers."""

    def __init__(self, amqp_url: str, requests: int) -> None:
        self.headers: list[dict[str, Any]] = []
        self._connection = pika.BlockingConnection(pika.URLParameters(amqp_url))
        self._channel = self._connection.channel()
        self._requests = requests
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(60)
        self._connection.close()

    def _run(self) -> None:
        for _, properties, body in self._channel.consume("id.alloc", auto_ack=True):
            assert properties is not None
            assert body is not None
            self.headers.append(dict(properties.headers or {}))
            count = parse_alloc_request(body).count
            answer = encode_alloc_success([(1, 1 + count)])
            reply = pika.BasicProperties(correlation_id=properties.correlation_id)
            self._channel.basic_publish("", str(properties.reply_to), answer, reply)
            if len(self.headers) == self._requests:
                break
        self._channel.cancel()


@pytest.fixture
def queue(vhost: str) -> str:
    with blocking_connection(vhost) as connection:
        connection.channel().queue_declare("id.alloc", durable=True)
    return vhost


def test_a_thread_passes_its_span_on(queue: str) -> None:
    """W3C `traceparent` with the caller's trace and span; without a span, no header."""
    with Recorder(queue, 2) as recorder, IdClient(queue) as client:
        with _TRACER.start_as_current_span("order") as span:
            client.next_id("order")
        client.next_id("order")
    context = span.get_span_context()
    trace_id, span_id = (
        trace.format_trace_id(context.trace_id),
        trace.format_span_id(context.span_id),
    )
    with_span, without = recorder.headers
    assert with_span["traceparent"].startswith(f"00-{trace_id}-{span_id}-")  # then come flags
    assert without == {}


def test_a_task_passes_its_span_on(queue: str) -> None:
    """Of callers who share a request, the first one's context travels."""

    async def call(client: AsyncIdClient, name: str) -> str:
        with _TRACER.start_as_current_span(name) as span:
            await client.next_id("order")
        return trace.format_trace_id(span.get_span_context().trace_id)

    async def run() -> str:
        async with AsyncIdClient(queue) as client:
            first, _ = await asyncio.gather(call(client, "first"), call(client, "second"))
        return first

    with Recorder(queue, 1) as recorder:
        first = asyncio.run(run())
    [headers] = recorder.headers
    assert headers["traceparent"].split("-")[1] == first


@pytest.mark.parametrize(
    "carrier",
    [
        {"k" * 256: "a name that is too long"},
        {"tracestate": "\udcff"},
        {"baggage": "x" * 200_000},
    ],
    ids=["name", "no text", "too long for a frame"],
)
def test_a_context_that_cannot_travel_is_left_out(
    queue: str, carrier: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It costs the trace, and neither the call, nor the connection that others use."""
    monkeypatch.setattr("opentelemetry.propagate.inject", lambda to, _context: to.update(carrier))
    span = _TRACER.start_as_current_span("order")
    with Recorder(queue, 2) as recorder, IdClient(queue) as client, span:
        assert [client.next_id("order"), client.next_id("order")] == [1, 1]
        assert client.stats().connections_lost == 0
    assert recorder.headers == [{}, {}]


def test_a_context_in_any_script_travels(queue: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Header values are UTF-8."""
    carrier = {"baggage": "käse=ok 🧀"}
    monkeypatch.setattr("opentelemetry.propagate.inject", lambda to, _context: to.update(carrier))
    span = _TRACER.start_as_current_span("order")
    with Recorder(queue, 1) as recorder, IdClient(queue) as client, span:
        client.next_id("order")
    assert recorder.headers == [carrier]


def test_a_propagator_that_fails_costs_no_call(queue: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the application's: what it raises is not the caller's to handle."""

    def fail(*_: object) -> None:
        raise LookupError

    monkeypatch.setattr("opentelemetry.propagate.inject", fail)
    span = _TRACER.start_as_current_span("order")
    with Recorder(queue, 1) as recorder, IdClient(queue) as client, span:
        assert client.next_id("order") == 1
    assert recorder.headers == [{}]
