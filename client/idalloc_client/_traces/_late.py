"""Follows calls once OpenTelemetry is in use: it is installed, but nobody has imported it so far.

Until somebody does, no caller is in a span, and importing it here would take a tenth of the CPU
time of a process that draws one id.
"""

import sys
from importlib import import_module

from idalloc_client._traces._faces import OPENTELEMETRY, CallTrace


def context_here() -> object:
    """Return the context of the caller, if it has one."""
    context = sys.modules.get(OPENTELEMETRY)
    return context and context.get_current()


def begin_call(queue: str, app_tag: str | None, count: int) -> CallTrace | None:
    """Begin to follow a call if its caller is in a span."""
    if not context_here():
        return None
    trace: CallTrace | None = import_module("idalloc_client._traces._calls").begin_call(
        queue, app_tag, count
    )
    return trace
