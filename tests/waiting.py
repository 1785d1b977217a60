"""Waiting for what happens by itself, at any speed of the machine."""

import time
from collections.abc import Callable

from devstack.workers import PATIENCE


def wait_until(condition: Callable[[], object]) -> None:
    """Look again and again until a condition holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"did not happen in {PATIENCE:.0f} s"
        time.sleep(0.01)
