"""Shows calls as spans of OpenTelemetry, where it is installed and the caller is in a span."""

import sys
from collections.abc import Callable
from importlib.util import find_spec

from idalloc_client._traces._faces import OPENTELEMETRY, BeginCall, CallTrace, Carrier

begin_call: BeginCall | None
"""Begins to follow a call; None where OpenTelemetry is not installed."""

context_here: Callable[[], object] | None
"""Returns the context of the caller, if it has one: what most calls do here, and nothing more."""

try:
    if OPENTELEMETRY not in sys.modules and find_spec("opentelemetry.propagate"):
        from idalloc_client._traces._late import begin_call, context_here
    else:
        from idalloc_client._traces._calls import begin_call, context_here
except ImportError:  # the application does without it
    begin_call = context_here = None

__all__ = ["OPENTELEMETRY", "BeginCall", "CallTrace", "Carrier", "begin_call", "context_here"]
