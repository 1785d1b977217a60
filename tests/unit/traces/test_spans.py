"""What a worker shows of requests: spans made after the fact, few of them, and none that harm."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode

from idalloc_schemas import AllocRequest
from idalloc_worker.traces._spans import MOST, MOST_LINKS, MOST_OF_USER, RequestSpans, Spans

SECOND = 10**9
PARENT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACE_ID, SPAN_ID = 0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331


@dataclass
class FakeMessage:
    """A request as it was delivered."""

    tag: int = 7
    correlation_id: bytes | None = b"c-1"
    reply_to: bytes | None = b"amq.rabbitmq.reply-to.secret"
    user: bytes | None = b"shop"
    request: AllocRequest = field(default_factory=lambda: AllocRequest(app_tag="order", count=3))
    server: str = "rabbitmq"


class Bench:
    """The spans of a worker, whose turn ends with `end_turn`."""

    def __init__(self, provider: TracerProvider | None = None) -> None:
        self.now = 1_000 * SECOND
        self.exporter = InMemorySpanExporter()
        provider = provider or TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.later: list[Callable[[], None]] = []
        self.spans = Spans(
            provider.get_tracer("test"),
            lambda _seconds, callback: self.later.append(callback),
            "segments",
            lambda: self.now,
        )

    def begin(self, queue: str = "id.alloc", **about: Any) -> RequestSpans:
        request = self.spans.begin(PARENT, FakeMessage(**about), queue)
        assert request is not None
        return request

    def end_turn(self) -> dict[str, ReadableSpan]:
        for callback in self.later:
            callback()
        self.later.clear()
        return {span.name: span for span in self.exporter.get_finished_spans()}


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_request_is_shown_once_its_answer_has_left(bench: Bench) -> None:
    """In the caller's trace, by the conventions for messages, with the times that it took."""
    request = bench.spans.begin(PARENT, FakeMessage(), "id.alloc", age=0.5)
    assert request is not None
    bench.now += SECOND
    request.end("granted")
    assert not bench.exporter.get_finished_spans()
    bench.now += SECOND
    shown = bench.end_turn()
    assert list(shown) == ["send amq.rabbitmq.reply-to", "process id.alloc"]
    process, reply = shown["process id.alloc"], shown["send amq.rabbitmq.reply-to"]
    assert process.context.trace_id == TRACE_ID
    assert process.parent is not None
    assert process.parent.span_id == SPAN_ID
    assert process.kind is SpanKind.CONSUMER
    assert process.start_time == 999.5 * SECOND
    assert process.end_time == 1_002 * SECOND
    assert process.status.status_code is StatusCode.UNSET
    assert dict(process.attributes or {}) == {
        "messaging.system": "rabbitmq",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "id.alloc",
        "messaging.message.conversation_id": "c-1",
        "messaging.rabbitmq.message.delivery_tag": 7,
        "server.address": "rabbitmq",
        "idalloc.app_tag": "order",
        "idalloc.count": 3,
        "idalloc.outcome": "granted",
    }
    assert reply.kind is SpanKind.PRODUCER
    assert (reply.start_time, reply.end_time) == (1_001 * SECOND, 1_002 * SECOND)
    assert reply.parent is not None
    assert reply.parent.span_id == process.context.span_id


def test_an_address_for_replies_is_not_shown(bench: Bench) -> None:
    """Whoever knows it may answer in the worker's place."""
    bench.begin().end("granted")
    bench.begin(reply_to=b"a.queue.of.its.own").end("granted")
    bench.end_turn()
    shown = [span.to_json() for span in bench.exporter.get_finished_spans()]
    assert not [text for text in shown if "secret" in text or "of.its.own" in text]


def test_a_wait_for_a_refill_is_a_span_of_its_own(bench: Bench) -> None:
    """The refill is in a trace of its own, and both know each other."""
    request = bench.begin()
    bench.now += SECOND
    request.waits(ordered=False)
    bench.now += SECOND
    bench.spans.refilled("order", 0.25, None, ordered=False)
    request.end("granted")
    shown = bench.end_turn()
    process, wait = shown["process id.alloc"], shown["wait for refill"]
    refill = shown["UPDATE segments"]
    assert wait.parent is not None
    assert wait.parent.span_id == process.context.span_id
    assert (wait.start_time, wait.end_time) == (1_001 * SECOND, 1_002 * SECOND)
    assert (refill.start_time, refill.end_time) == (1_001.75 * SECOND, 1_002 * SECOND)
    assert refill.parent is None
    assert refill.context.trace_id != TRACE_ID
    assert [link.context for link in refill.links] == [process.context]
    assert [link.context for link in wait.links] == [refill.context]
    assert refill.kind is SpanKind.CLIENT
    assert (refill.attributes or {})["db.system.name"] == "mysql"


def test_a_refill_is_linked_to_those_that_wait_for_it(bench: Bench) -> None:
    """Not to those of another tag or engine, to those that have ended, nor to all of very many."""
    of_owner, of_other_tag = bench.begin(), bench.begin(request=AllocRequest(app_tag="invoice"))
    of_owner.waits(ordered=True)
    of_other_tag.waits(ordered=False)
    gone = bench.begin()
    gone.waits(ordered=False)
    gone.end("expired")
    waiting = [bench.begin() for _ in range(MOST_LINKS + 5)]
    for each in waiting:
        each.waits(ordered=False)
    bench.spans.refilled("order", 0.25, None, ordered=False)
    (refill,) = bench.exporter.get_finished_spans()
    assert len(refill.links) == MOST_LINKS
    named = [each.span.get_span_context().span_id for each in waiting if each.span is not None]
    assert {link.context.span_id for link in refill.links} <= set(named)


def test_a_request_that_was_dropped_is_forgotten(bench: Bench) -> None:
    """It is not answered, and a refill is not shown for its sake."""
    request = bench.begin()
    request.waits(ordered=False)
    del request
    bench.spans.refilled("order", 0.25, None, ordered=False)
    assert not bench.exporter.get_finished_spans()


def test_a_refill_that_nobody_waits_for_is_not_shown(bench: Bench) -> None:
    """Nor is one that never got to the database."""
    bench.begin().end("granted")
    bench.spans.refilled("order", 0.25, None, ordered=False)
    waits = bench.begin()
    waits.waits(ordered=False)
    bench.spans.refilled("order", 0.0, TimeoutError(), ordered=False)
    assert "UPDATE segments" not in bench.end_turn()


def test_a_failure_says_of_what_kind_it_is(bench: Bench) -> None:
    """By the name that metrics have for it, and for a refill by its error's."""
    request = bench.begin()
    request.waits(ordered=False)
    bench.spans.refilled("order", 0.25, TimeoutError("no answer"), ordered=False)
    request.end("no_available_id")
    shown = bench.end_turn()
    for name, kind in (
        ("process id.alloc", "no_available_id"),
        ("UPDATE segments", "TimeoutError"),
    ):
        assert shown[name].status.status_code is StatusCode.ERROR
        assert (shown[name].attributes or {})["error.type"] == kind


def test_the_first_end_counts(bench: Bench) -> None:
    """What was passed on to an owner has no reply of this worker."""
    request = bench.begin()
    request.end("forwarded")
    request.end("granted")
    shown = bench.end_turn()
    assert list(shown) == ["process id.alloc"]
    assert (shown["process id.alloc"].attributes or {})["idalloc.outcome"] == "forwarded"


def test_so_many_a_second_are_shown(bench: Bench) -> None:
    """A user who sends many leaves room for others', and the next second there is room again."""
    message = FakeMessage()
    mine = [bench.spans.begin(PARENT, message, "id.alloc") for _ in range(2 * MOST)]
    assert sum(each is not None for each in mine) == MOST_OF_USER
    others = [bench.spans.begin(PARENT, FakeMessage(user=None), "q") for _ in range(2 * MOST)]
    assert sum(each is not None for each in others) == MOST - MOST_OF_USER
    assert bench.spans.begin(PARENT, FakeMessage(user=b"third"), "q") is None
    bench.now += SECOND
    assert bench.spans.begin(PARENT, message, "id.alloc") is not None


def test_a_sampler_that_says_no_is_heard() -> None:
    """Nothing is shown, nor is the refill that it waited for."""
    bench = Bench(TracerProvider(sampler=ALWAYS_OFF))
    request = bench.begin()
    request.waits(ordered=False)
    bench.spans.refilled("order", 0.25, None, ordered=False)
    request.end("granted")
    assert not bench.end_turn()


class Broken(SimpleSpanProcessor):
    """What the operator has installed fails."""

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        raise LookupError


def test_what_fails_costs_a_span_and_nothing_else(bench: Bench) -> None:
    """The thread that answers goes on."""
    provider = TracerProvider()
    provider.add_span_processor(Broken(bench.exporter))
    broken = Bench(provider)
    request = broken.begin()
    request.waits(ordered=False)
    broken.spans.refilled("order", 0.25, None, ordered=False)
    request.end("granted")
    assert not broken.end_turn()
