"""A release of pika with another inside costs speed, and nothing else.

The whole suite can be run like this: PYTHONPATH=tests/changed_pika make test
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from devstack.workers import Fleet

_FOLDER = Path(__file__).resolve().parents[1] / "changed_pika"

CALLER = """
import asyncio, logging, sys
from idalloc_client import AsyncIdClient, IdClient
from idalloc_client._rpc._pending_calls import PendingCalls

PendingCalls.doubt = lambda *_: None  # a late request is not sent twice: a copy takes ids too
logging.basicConfig(level=logging.WARNING, format="%(message)s")

async def tasks(url):
    async with AsyncIdClient(url) as client:
        return await asyncio.gather(*(client.next_id("test_business") for _ in range(100)))

with IdClient(sys.argv[1]) as client:
    ids = [client.next_id("test_business") for _ in range(100)]
    ids += client.next_ids("test_business", 5000)
    left = client.health().left
ids += asyncio.run(tasks(sys.argv[1]))
print(len(set(ids)), min(ids), max(ids), left)
"""


def test_both_ends_go_on_with_what_pika_brings(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Worker and clients warn once each, and ids are handed out as ever."""
    monkeypatch.setenv("PYTHONPATH", str(_FOLDER))
    [worker] = fleet.start(1)
    done = subprocess.run(
        [sys.executable, "-c", CALLER, fleet.amqp_url],
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == f"5200 1 5200 {200_000 - 1 - 5100}\n"
    assert done.stderr.count("differs from those that idalloc knows") == 1
    assert worker.tail().count("differs from those that idalloc knows") == 1
    assert worker.terminate() == 0
