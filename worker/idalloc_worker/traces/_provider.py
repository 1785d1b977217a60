"""Decides where a worker's spans go: what runs the process says so, or OpenTelemetry's variables.

Each process of a worker does so by itself, once it runs: a thread that sends spans does not survive
a fork.
"""

import logging
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from idalloc_worker.traces._faces import CallLater, Traces

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

_log = logging.getLogger("idalloc.worker")

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_LAST_SPANS: Final = 2.0  # seconds for what was not sent at a stop: a collector may be away


@dataclass(frozen=True, slots=True)
class Tracing:
    """The spans of one process; `provider` is OpenTelemetry's, None where nothing is shown."""

    provider: "TracerProvider | None"
    table: str
    shut_down: Callable[[], None] | None = None

    @classmethod
    def start(cls, worker: str, table: str, environ: Mapping[str, str] = os.environ) -> "Tracing":
        """Take the provider that is there already, or make one by the environment.

        `opentelemetry-instrument` and the like have set one up before this runs.
        """
        try:
            from opentelemetry import trace  # noqa: PLC0415  # it need not be installed
        except ImportError:
            _warn_of_missing(environ)
            return cls(None, table)
        provider = trace.get_tracer_provider()
        if not isinstance(provider, trace.ProxyTracerProvider):
            return cls(provider, table)
        if not _wanted(environ):
            return cls(None, table)
        return cls._exporting(worker, table, environ)

    @classmethod
    def _exporting(cls, worker: str, table: str, environ: Mapping[str, str]) -> "Tracing":
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
                OTLPSpanExporter,
            )
            from opentelemetry.sdk.resources import OTELResourceDetector, Resource  # noqa: PLC0415
            from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
            from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
        except ImportError:
            _warn_of_missing(environ)
            return cls(None, table)
        own = Resource.create({"service.name": "idalloc-worker", "service.instance.id": worker})
        provider = TracerProvider(
            resource=own.merge(OTELResourceDetector().detect()),
            shutdown_on_exit=False,  # `stop` does, and does not wait for a collector that is away
        )
        # A thread of its own sends them: the one that answers only puts them into a queue.
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        return cls(provider, table, provider.shutdown)

    def new_traces(self, call_later: CallLater) -> Traces | None:
        """Make what shows requests, for the link's thread."""
        if self.provider is None:
            return None
        from idalloc_worker.traces._spans import Spans  # noqa: PLC0415  # needs OpenTelemetry

        tracer = self.provider.get_tracer("idalloc.worker")
        return Spans(tracer, call_later, self.table)

    def stop(self) -> None:
        """Send what was not sent, in the time that there is."""
        if self.shut_down is not None:
            sender = threading.Thread(target=self.shut_down, name="idalloc-spans", daemon=True)
            sender.start()
            sender.join(_LAST_SPANS)


def _wanted(environ: Mapping[str, str]) -> bool:
    off = environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    none = environ.get("OTEL_TRACES_EXPORTER", "").strip().lower() == "none"
    return any(environ.get(name) for name in _ENDPOINTS) and not (off or none)


def _warn_of_missing(environ: Mapping[str, str]) -> None:
    if _wanted(environ):
        _log.warning(
            "No traces: %s is set, and what sends them is not installed: "
            "pip install 'idalloc[worker,otlp]'",
            next(name for name in _ENDPOINTS if environ.get(name)),
        )
