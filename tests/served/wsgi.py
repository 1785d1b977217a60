"""Draws at each request, as a WSGI application."""

import os
from collections.abc import Callable, Iterable
from typing import Any

from tests.served import draw


def application(_environ: Any, start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer with the process id."""
    draw()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
