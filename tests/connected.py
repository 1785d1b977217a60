"""Clients whose connection is there, so that a short time limit is about the answer alone."""

import contextlib
import time

from devstack.workers import PATIENCE
from idalloc_client import CallTimeoutError, IdAllocError, IdClient
from idalloc_schemas import HealthReply


def connect(client: IdClient) -> IdClient:
    """Have a client connect, which takes any time on a busy machine; it asks nobody for an id."""
    with contextlib.suppress(IdAllocError):
        client.next_id("connect", timeout=0.001)
    deadline = time.monotonic() + PATIENCE
    while not client.stats().connected:
        assert time.monotonic() < deadline, "no connection to the broker"
        time.sleep(0.01)
    return client


def all_answer(client: IdClient, workers: int, app_tag: str | None = None) -> list[HealthReply]:
    """Ask the fleet until each worker has answered in time."""
    connect(client)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with contextlib.suppress(CallTimeoutError):
            if len(replies := client.fleet_health(app_tag, within=0.5)) == workers:
                return replies
    raise AssertionError(f"fewer than {workers} workers answer")
