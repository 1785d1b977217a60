"""Passes the caller's trace context on, where OpenTelemetry is installed.

The W3C headers `traceparent` and `tracestate` travel as message headers, as OpenTelemetry's own
instrumentation of AMQP clients does it: whatever the application's propagator writes goes along.
A request that carries several callers has the context of the first one.
"""

import logging
from collections.abc import Callable
from typing import Any

_log = logging.getLogger("idalloc.client")

Carrier = dict[str, str]

try:
    from opentelemetry import propagate, trace
except ImportError:  # the application does without it
    capture: Callable[[], Carrier | None] | None = None
else:

    def _capture() -> Carrier | None:
        """Write down the context of the running caller, if it is in a span."""
        if not trace.get_current_span().get_span_context().is_valid:
            return None
        carrier: dict[str, Any] = {}
        try:
            propagate.inject(carrier)
        except Exception:  # noqa: BLE001  # the application's propagator: its failure costs a trace
            _log.debug("The trace context could not be written", exc_info=True)
            return None
        return {str(key): str(value) for key, value in carrier.items()} or None

    capture = _capture
