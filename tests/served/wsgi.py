"""Draws at each request, as a WSGI application."""

import os
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

from tests.served import CLIENT, draw, record

if "SERVED_BUSY" in os.environ:
    # The last of these ids asks for a lease, and from there on this thread keeps the interpreter's
    # lock: whoever is to send that wants the lock when the server forks, just after this.
    ids = CLIENT.sequence("test_business", floor=50, cap=50)
    record([next(ids) for _ in range(100)])
    sys.setswitchinterval(60)
    next(ids)
    until = time.monotonic() + 0.5
    while time.monotonic() < until:
        pass


def application(_environ: Any, start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer with the process id."""
    sys.setswitchinterval(0.005)
    draw()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
