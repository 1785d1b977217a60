"""The spans of a worker, by OpenTelemetry's conventions for messages and databases.

They are made after the fact: a request is answered first, and shown once its answer has left. What
that may cost is bounded, as anybody may ask for it with a header.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable
from functools import wraps
from typing import Any, Final, Literal, ParamSpec, TypeVar
from weakref import WeakSet

from opentelemetry.context import Context
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
    set_span_in_context,
)

from idalloc_worker.traces._faces import CallLater, Message

_log = logging.getLogger("idalloc.worker")

MOST: Final = 200
"""Requests of one second that are shown: more would cost others' requests more than a hundredth."""

MOST_OF_USER: Final = MOST // 2
"""Of one user: the others see theirs, whatever that one sends."""

MOST_LINKS: Final = 32
"""Requests that a refill is linked to, and refills that a request is."""

_DIRECT: Final = b"amq.rabbitmq.reply-to"
_NO_FAILURE: Final = frozenset({"granted", "forwarded", "handed_back", "doubted"})
_NO_REPLY: Final = frozenset({"forwarded", "handed_back", "doubted", "expired", "dead_lettered"})

_Params = ParamSpec("_Params")
_Result = TypeVar("_Result")


def _harmless(
    method: Callable[_Params, _Result],
) -> Callable[_Params, _Result | None]:
    """Let a failure of what the operator has installed cost a span, and nothing else."""

    @wraps(method)
    def tried(*args: _Params.args, **kwargs: _Params.kwargs) -> _Result | None:
        try:
            return method(*args, **kwargs)
        except Exception:  # noqa: BLE001  # whatever a sampler or a processor raises
            _log.debug("A span could not be made", exc_info=True)
            return None

    return tried


class Budget:
    """How many requests may be shown in a second, in all and of each user."""

    def __init__(self) -> None:
        self._second = -1
        self._users: Counter[bytes | None] = Counter()

    def admits(self, user: bytes | None, second: int) -> bool:
        """Count one, if there is room for it."""
        if second != self._second:
            self._second = second
            self._users.clear()
        if self._users[user] >= MOST_OF_USER or self._users.total() >= MOST:
            return False
        self._users[user] += 1
        return True


class RequestSpans:
    """A `RequestTrace`. Times are nanoseconds since the epoch."""

    def __init__(
        self, spans: "Spans", traceparent: bytes, message: Message, queue: str, began: int
    ) -> None:
        # Not the message: it knows this object, and both together would be garbage to collect.
        self._spans = spans
        self.traceparent = traceparent
        self.queue = queue
        self.began = began
        self.app_tag = message.request.app_tag
        self.direct = (message.reply_to or b"").startswith(_DIRECT)
        """Whether its answer goes to its caller and to no queue."""
        self.attributes: dict[str, Any] = {
            **_messaging("process", queue),
            "messaging.rabbitmq.message.delivery_tag": message.tag,
            "server.address": message.server,
            "idalloc.app_tag": self.app_tag,
            "idalloc.count": message.request.count,
        }
        if message.correlation_id is not None:
            conversation = message.correlation_id.decode(errors="replace")
            self.attributes["messaging.message.conversation_id"] = conversation
        self.ordered = False
        self.span: Span | None = None
        """Made once it waits, so that a refill can name it, else at its end."""
        self.waited: int | None = None
        self.refills: list[SpanContext] = []
        self.outcome: str | None = None
        self.ended = 0

    def waits(self, *, ordered: bool) -> None:
        """Note that it waits for a refill."""
        self.ordered = ordered
        self._spans.waits(self)

    def end(self, outcome: str) -> None:
        """Note how it ended."""
        if self.outcome is None:
            self.outcome = outcome
            self._spans.ended(self)


class Spans:
    """The `Traces` of a worker where OpenTelemetry is installed."""

    def __init__(
        self,
        tracer: Tracer,
        call_later: CallLater,
        table: str,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._tracer = tracer
        self._call_later = call_later
        self._table = table
        self._clock = clock
        self._budget = Budget()
        self._waiting: WeakSet[RequestSpans] = WeakSet()  # those that are dropped are gone
        self._ended: list[RequestSpans] = []

    @_harmless
    def begin(
        self, traceparent: bytes | None, message: Message, queue: str, age: float = 0.0
    ) -> RequestSpans | None:
        """Follow a request, if a recorded caller sent it and there is room for it."""
        now = self._clock()
        if traceparent is None or not self._budget.admits(message.user, now // 10**9):
            return None
        return RequestSpans(self, traceparent, message, queue, now - int(age * 1e9))

    @_harmless
    def waits(self, request: RequestSpans) -> None:
        """Make a request known to the refill that it waits for."""
        request.waited = self._clock()
        request.span = self._start(request)
        self._waiting.add(request)

    def ended(self, request: RequestSpans) -> None:
        """Show a request, but not before the answers of this turn have left."""
        request.ended = self._clock()
        self._waiting.discard(request)
        self._ended.append(request)
        if len(self._ended) == 1:
            self._call_later(0.0, self._show_ended)

    @_harmless
    def refilled(
        self, app_tag: str, seconds: float, error: BaseException | None, *, ordered: bool
    ) -> None:
        """Show what a refill asked of the database, in a trace of its own with links to others."""
        waiting = [
            each
            for each in self._waiting
            if each.app_tag == app_tag and each.ordered == ordered and each.span is not None
        ][:MOST_LINKS]
        if not (waiting and seconds):
            return
        now = self._clock()
        span = self._tracer.start_span(
            f"UPDATE {self._table}",
            Context(),
            SpanKind.CLIENT,
            {
                "db.system.name": "mysql",
                "db.operation.name": "UPDATE",
                "db.collection.name": self._table,
                "idalloc.app_tag": app_tag,
            },
            [Link(each.span.get_span_context()) for each in waiting if each.span],
            now - int(seconds * 1e9),
        )
        if error is not None:
            _fail(span, type(error).__name__, str(error))
        span.end(now)
        if span.get_span_context().trace_flags.sampled:
            for each in waiting:
                each.refills = [*each.refills, span.get_span_context()][-MOST_LINKS:]

    def _show_ended(self) -> None:
        ended, self._ended = self._ended, []
        for request in ended:
            self._show(request)

    @_harmless
    def _show(self, request: RequestSpans) -> None:
        span = request.span or self._start(request)
        if not span.is_recording():  # the operator's sampler says so
            return
        within, now, outcome = set_span_in_context(span), self._clock(), request.outcome or ""
        if request.waited is not None:
            links = [Link(refill) for refill in request.refills]
            wait = self._tracer.start_span(
                "wait for refill", within, links=links, start_time=request.waited
            )
            wait.end(request.ended)
        if outcome not in _NO_REPLY:
            self._show_reply(request, within, now)
        span.set_attribute("idalloc.outcome", outcome)
        if outcome not in _NO_FAILURE:
            _fail(span, outcome, "")
        span.end(now)

    def _show_reply(self, request: RequestSpans, within: Context, now: int) -> None:
        """Show it without its address: who knows that may answer, too."""
        where = _DIRECT.decode() if request.direct else ""
        attributes = _messaging("send", where) | {"messaging.destination.temporary": True}
        kind, name = SpanKind.PRODUCER, f"send {where}".strip()
        reply = self._tracer.start_span(name, within, kind, attributes, start_time=request.ended)
        reply.end(now)

    def _start(self, request: RequestSpans) -> Span:
        """Make the span that all others of a request are within, as the caller's child."""
        _, trace_id, span_id, flags = request.traceparent.split(b"-")
        caller = SpanContext(
            int(trace_id, 16),
            int(span_id, 16),
            is_remote=True,
            trace_flags=TraceFlags(int(flags, 16)),
        )
        return self._tracer.start_span(
            f"process {request.queue}",
            set_span_in_context(NonRecordingSpan(caller), Context()),
            SpanKind.CONSUMER,
            request.attributes,
            [Link(caller)],
            request.began,
        )


def _messaging(operation: Literal["process", "send"], destination: str) -> dict[str, Any]:
    named = {"messaging.destination.name": destination} if destination else {}
    return named | {
        "messaging.system": "rabbitmq",
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
    }


def _fail(span: Span, error_type: str, why: str) -> None:
    span.set_attribute("error.type", error_type)
    span.set_status(Status(StatusCode.ERROR, why or None))
