"""Traces of real workers, as a collector gets them: from a caller's span to a refill's SQL."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Span

from devstack import Database
from devstack.ordered import Owners, add_ordered_tag
from devstack.workers import Fleet
from idalloc_client import AppTagNotFoundError, AsyncIdClient, IdClient
from idalloc_client._traces import _calls
from idalloc_schemas import RespCode
from idalloc_worker.tags._partitions import QUEUES, partition_of
from tests.foreign import ForeignClient

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
INTERNAL, CLIENT, PRODUCER, CONSUMER = 1, 3, 4, 5


class Shown:
    """One span as it was sent."""

    def __init__(self, span: Any, service: str) -> None:
        self.name: str = span.name
        self.service = service
        self.trace = span.trace_id.hex()
        self.id = span.span_id.hex()
        self.parent = span.parent_span_id.hex()
        self.kind: int = span.kind
        self.links = {link.span_id.hex() for link in span.links}
        self.times = span.start_time_unix_nano, span.end_time_unix_nano
        self.attributes = {
            each.key: each.value.string_value or each.value.int_value for each in span.attributes
        }


class Collector:
    """Takes spans over OTLP and HTTP."""

    def __init__(self) -> None:
        collector = self
        self.spans: list[Shown] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector._take(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def _take(self, request: ExportTraceServiceRequest) -> None:
        for resource in request.resource_spans:
            (service,) = [
                each.value.string_value
                for each in resource.resource.attributes
                if each.key == "service.name"
            ]
            for scope in resource.scope_spans:
                self.spans += [Shown(span, service) for span in scope.spans]

    def named(self, name: str) -> list[Shown]:
        return [span for span in self.spans if span.name == name]

    def one(self, name: str) -> Shown:
        (span,) = self.named(name)
        return span

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, name="collector").start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """Have workers send their spans to a collector of the test's own."""
    with Collector() as running:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", running.url)
        yield running


@pytest.fixture
def application(monkeypatch: pytest.MonkeyPatch) -> "Application":
    application = Application()
    monkeypatch.setattr(_calls, "_TRACER", application.tracer)
    return application


class Application:
    """A caller with a provider of its own."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = provider.get_tracer("application")

    def sent(self, name: str, parent: Span) -> list[ReadableSpan]:
        """Find the spans of calls that were made in another one."""
        spans = self._exporter.get_finished_spans()
        return [
            each for each in spans if each.name == name and each.parent == parent.get_span_context()
        ]

    @contextmanager
    def span(self) -> Iterator[Span]:
        with self.tracer.start_as_current_span("order") as span:
            yield span


def stop(fleet: Fleet) -> None:
    """Have the workers send what they have not sent."""
    for worker in fleet.workers:
        assert worker.terminate() == 0


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.long)])
def test_one_trace_leads_from_a_caller_to_the_refill(
    fleet: Fleet, collector: Collector, application: Application, processes: int
) -> None:
    """Each process of a worker sends its own; what no caller follows is not shown."""
    fleet.start(1, processes=processes)
    with IdClient(fleet.amqp_url) as client:
        with application.span() as caller:
            client.next_id("test_business")
        client.next_id("test_business")
    stop(fleet)
    trace = f"{caller.get_span_context().trace_id:032x}"
    process, wait = collector.one("process id.alloc"), collector.one("wait for refill")
    reply = collector.one("send amq.rabbitmq.reply-to")
    assert {process.trace, wait.trace, reply.trace} == {trace}
    assert {wait.parent, reply.parent} == {process.id}
    assert (process.kind, wait.kind, reply.kind) == (CONSUMER, INTERNAL, PRODUCER)
    assert process.parent in process.links
    assert process.service == "idalloc-worker"
    assert process.attributes["idalloc.outcome"] == "granted"
    assert process.attributes["server.address"] == "127.0.0.1"
    (refill,) = [each for each in collector.named("UPDATE segments") if each.id in wait.links]
    assert refill.links == {process.id}
    assert (refill.parent, refill.kind) == ("", CLIENT)
    assert refill.trace != trace
    began, ended = process.times
    for span in (wait, reply, refill):
        assert began <= span.times[0] <= span.times[1] <= ended


def counts(spans: list[ReadableSpan]) -> list[object]:
    return [(span.attributes or {})["idalloc.count"] for span in spans]


def test_each_way_to_ask_is_a_span(fleet: Fleet, application: Application) -> None:
    """Of threads and of tasks: single ids, batches, leases, questions about health, failures."""

    async def ask() -> Span:
        async with AsyncIdClient(fleet.amqp_url) as client:
            with application.span() as span:
                await client.next_id("test_business")  # the queue of the tag is made
                await client.next_id("test_business")  # and used
                await client.next_ids("test_business", 5)
                await client.health()
                with pytest.raises(AppTagNotFoundError):
                    await client.next_id("unknown")
                with client.sequence("test_business", floor=50) as ids:
                    await anext(ids)
        return span

    fleet.start()
    with IdClient(fleet.amqp_url) as client, application.span() as of_thread:
        client.next_id("test_business")
        client.next_id("test_business")
        client.next_ids("test_business", 5)
        client.health()
        with pytest.raises(AppTagNotFoundError):
            client.next_id("unknown")
        with client.sequence("test_business", floor=50) as ids:
            next(ids)
    for caller in (of_thread, asyncio.run(ask())):
        calls = application.sent("send id.alloc", caller)[:5]  # a further lease may be cut off
        assert counts(calls) == [1, 1, 5, 1, 50]
        assert {(call.attributes or {})["server.address"] for call in calls} == {"127.0.0.1"}
        failed = [(call.attributes or {}).get("error.type") for call in calls]
        assert failed == [None, None, None, "AppTagNotFoundError", None]
        assert len(application.sent("send id.health", caller)) == 1


@pytest.mark.long
def test_a_trace_goes_on_at_the_owner_of_an_ordered_tag(
    fleet: Fleet, collector: Collector, database: Database, management_url: str
) -> None:
    """Whoever is asked passes the caller's context on, so that both are children of the caller."""
    add_ordered_tag(database, "order", step=10)
    fleet.start(2)
    Owners(management_url, fleet.amqp_url).worker_of("order")
    with ForeignClient(fleet.amqp_url) as caller:
        answer = caller.call(
            "id.alloc", b'{"app_tag":"order"}', headers={"traceparent": TRACEPARENT}
        )
    assert answer is not None
    stop(fleet)
    passed_on = collector.one("process id.alloc")
    answered = collector.one(f"process {QUEUES[partition_of('order')]}")
    assert {passed_on.trace, answered.trace} == {TRACEPARENT.split("-")[1]}
    assert {passed_on.parent, answered.parent} == {TRACEPARENT.split("-")[2]}
    assert passed_on.attributes["idalloc.outcome"] == "forwarded"
    assert answered.attributes["idalloc.outcome"] == "granted"
    assert collector.one("wait for refill").parent == answered.id


HOSTILE: dict[str, dict[str, Any]] = {
    "a table": {"traceparent": {"a": {"b": [1, None, {"c": "d"}]}}},
    "a list": {"traceparent": [TRACEPARENT]},
    "a number": {"traceparent": 2**60},
    "a long text": {"traceparent": "0" * 100_000},
    "bytes": {"traceparent": b"\xff\x00" * 500},
    "no hex": {"traceparent": "00-" + "z" * 52},
    "zeros": {"traceparent": "00-" + "0" * 32 + "-" + "0" * 16 + "-01"},
    "a state": {"traceparent": TRACEPARENT, "tracestate": "=,=;" * 5000},
    "baggage": {"traceparent": TRACEPARENT, "baggage": "%" * 100_000},
    "a name": {"\x0btraceparentS": "\x00\x00\x00\x37"},
}


@pytest.mark.long
def test_whatever_stands_in_a_header_harms_nobody(
    fleet: Fleet, collector: Collector, database: Database
) -> None:
    """Each request is answered on the same connection, and none of these contexts is believed."""
    fleet.start()
    with ForeignClient(fleet.amqp_url) as caller:
        for headers in HOSTILE.values():
            answer = caller.call("id.alloc", b'{"app_tag":"test_business"}', headers=headers)
            assert answer is not None
            assert json.loads(answer[0])["resp_code"] == RespCode.SUCCESS
    (worker,) = fleet.workers
    assert worker.count_in_log("Serving") == 1
    stop(fleet)
    assert worker.count_in_log("WARNING") == 0
    assert {span.trace for span in collector.spans if span.parent} <= {TRACEPARENT.split("-")[1]}
    assert len(collector.named("process id.alloc")) <= len(HOSTILE)


@pytest.mark.long
def test_a_collector_that_is_away_costs_traces_and_nothing_else(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests are answered, and the worker stops cleanly."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    fleet.start()
    with ForeignClient(fleet.amqp_url) as caller:
        for _ in range(300):
            answer = caller.call(
                "id.alloc", b'{"app_tag":"test_business"}', headers={"traceparent": TRACEPARENT}
            )
            assert answer is not None
    stop(fleet)
