"""Shows requests and the refills that they waited for as spans of OpenTelemetry, if it is there."""

from idalloc_worker.traces._faces import (
    CallLater,
    Message,
    NewTraces,
    RequestTrace,
    Traces,
    no_traces,
)
from idalloc_worker.traces._headers import traceparent_in, traceparent_of
from idalloc_worker.traces._provider import Tracing

__all__ = [
    "CallLater",
    "Message",
    "NewTraces",
    "RequestTrace",
    "Traces",
    "Tracing",
    "no_traces",
    "traceparent_in",
    "traceparent_of",
]
