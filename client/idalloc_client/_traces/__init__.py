"""Shows calls as spans of OpenTelemetry, where it is installed and the caller is in a span."""

from idalloc_client._traces._faces import BeginCall, CallTrace, Carrier

begin_call: BeginCall | None
"""Begins to follow a call; None where OpenTelemetry is not installed."""

try:
    from idalloc_client._traces._calls import begin_call
except ImportError:  # the application does without it
    begin_call = None

__all__ = ["BeginCall", "CallTrace", "Carrier", "begin_call"]
