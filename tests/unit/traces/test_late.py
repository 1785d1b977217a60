"""OpenTelemetry is not imported for those who do not use it, and used by those who import it."""

import subprocess
import sys

LATE = """
import sys
from idalloc_client._traces import begin_call, context_here

assert "opentelemetry.context" not in sys.modules
assert not context_here() and begin_call("id.alloc", "order", 1) is None
from opentelemetry.sdk.trace import TracerProvider

with TracerProvider(shutdown_on_exit=False).get_tracer("test").start_as_current_span("caller"):
    assert context_here()
    call = begin_call("id.alloc", "order", 1)
assert call.carrier([call]).headers["traceparent"]
assert begin_call("id.alloc", "order", 1) is None
"""


def test_it_may_be_imported_after_the_client() -> None:
    """Calls are followed from then on, where their callers are in a span."""
    subprocess.run([sys.executable, "-c", LATE], check=True, timeout=60)
