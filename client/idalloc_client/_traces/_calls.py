"""The spans of a client, by OpenTelemetry's conventions for messages.

A call is one span, `send id.alloc`, whose context its request carries. Where several callers share
a request, that is a span too: within the first one's, with links to them all. Of callers that are
not recorded nothing is shown, and their context travels as it is.
"""

import logging
from asyncio import CancelledError
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from types import TracebackType
from typing import Any, Final, ParamSpec, TypeVar

from opentelemetry import propagate
from opentelemetry.context import Context, get_current
from opentelemetry.trace import (
    Link,
    Span,
    SpanKind,
    Status,
    StatusCode,
    get_current_span,
    get_tracer,
    set_span_in_context,
)

from idalloc_client._traces._faces import CallTrace, Carrier

_log = logging.getLogger("idalloc.client")

MOST_LINKS: Final = 128
"""Callers that a request is linked to: as many as OpenTelemetry keeps by default."""

_TRACER: Final = get_tracer("idalloc.client")  # goes by the provider that the application sets

_Params = ParamSpec("_Params")
_Result = TypeVar("_Result")


def _harmless(method: Callable[_Params, _Result]) -> Callable[_Params, _Result | None]:
    """Let a failure of what the application has installed cost a span, and no call."""

    @wraps(method)
    def tried(*args: _Params.args, **kwargs: _Params.kwargs) -> _Result | None:
        try:
            return method(*args, **kwargs)
        except Exception:  # noqa: BLE001  # whatever a propagator or a processor raises
            _log.debug("A trace could not be made", exc_info=True)
            return None

    return tried


context_here: Final = get_current


def begin_call(queue: str, app_tag: str | None, count: int) -> CallTrace | None:
    """Begin to follow a call if its caller is in a span; 0.1 us where there is no context."""
    here = get_current()
    return _begin(here, queue, app_tag, count) if here else None


@_harmless
def _begin(here: Context, queue: str, app_tag: str | None, count: int) -> CallTrace | None:
    caller = get_current_span(here)
    if not caller.get_span_context().is_valid:
        return None
    if not caller.is_recording():
        return CallSpan(here, None, queue)
    span = _send(here, queue, [])
    if not span.is_recording():  # the sampler says so, or there is no provider
        return CallSpan(here, None, queue)
    if app_tag is not None:
        span.set_attributes({"idalloc.app_tag": app_tag, "idalloc.count": count})
    return CallSpan(set_span_in_context(span, here), span, queue)


class CallSpan:
    """A `CallTrace`. Threads and the link's thread share it, as spans may be."""

    __slots__ = ("context", "queue", "span")

    def __init__(self, context: Context, span: Span | None, queue: str) -> None:
        self.context = context
        """What travels if nobody else is in the request."""
        self.span = span
        self.queue = queue

    @property
    def recorded(self) -> bool:
        """Whether it has a span of its own."""
        return self.span is not None

    def carrier(self, calls: Sequence[CallTrace]) -> Carrier:
        """Make what a request takes along for these calls."""
        return _carrier(calls) or RequestSpan(self.queue, None, [], None)

    def on_done(self, future: Any, /) -> None:
        """End with a future's outcome."""
        self._end(CancelledError() if future.cancelled() else future.exception())

    def __enter__(self) -> None:
        """Make the call within it."""

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._end(error)

    @_harmless
    def _end(self, error: BaseException | None) -> None:
        if self.span is not None:
            _end(self.span, error)


class RequestSpan:
    """A `Carrier`: the headers of a request, and the spans that are told of it."""

    def __init__(
        self, queue: str, headers: dict[str, str] | None, callers: list[Span], own: Span | None
    ) -> None:
        self._queue = queue
        self.headers: Mapping[str, str] | None = headers
        self._callers = callers
        self._own = own
        """Where it has several callers."""
        self._sent = False

    @_harmless
    def sent(self, correlation_id: bytes, server: str, exchange: str) -> None:
        """Say where it goes, and that it goes there again."""
        again, self._sent = self._sent, True
        attributes = {
            "messaging.message.conversation_id": correlation_id.decode(),
            "server.address": server,
        }
        if exchange:
            attributes["messaging.destination.name"] = f"{exchange}:{self._queue}"
        for span in self._callers if self._own is None else [*self._callers, self._own]:
            if again:
                span.add_event("sent again", attributes)
            else:
                span.set_attributes(attributes)

    @_harmless
    def finished(self, error: Exception | None) -> None:
        """Say what came of it: who was refused may be asked for again, or hears it."""
        if self._own is not None:
            _end(self._own, error)
        if error is not None:
            for span in self._callers:
                span.add_event("refused", {"error.type": type(error).__name__})


@_harmless
def _carrier(calls: Sequence[CallTrace]) -> Carrier:
    followed = [call for call in calls if isinstance(call, CallSpan)]
    recorded = [call for call in followed if call.span is not None]
    first, own = (recorded or followed)[0], None
    context = first.context
    callers = [call.span for call in recorded if call.span is not None]
    if len(callers) > 1:
        own = _send(context, first.queue, callers[:MOST_LINKS])
        own.set_attribute("idalloc.callers", len(callers))
        context = set_span_in_context(own, context)
    headers: dict[str, Any] = {}
    propagate.inject(headers, context)
    texts = {str(key): str(value) for key, value in headers.items()}
    return RequestSpan(first.queue, texts or None, callers, own)


def _send(context: Context, queue: str, callers: list[Span]) -> Span:
    return _TRACER.start_span(
        f"send {queue}",
        context,
        SpanKind.PRODUCER,
        {
            "messaging.system": "rabbitmq",
            "messaging.operation.name": "send",
            "messaging.operation.type": "send",
            "messaging.destination.name": queue,
        },
        [Link(caller.get_span_context()) for caller in callers],
    )


def _end(span: Span, error: BaseException | None) -> None:
    if error is not None:
        span.set_attribute("error.type", type(error).__name__)
        span.set_status(Status(StatusCode.ERROR, str(error) or None))
    span.end()
