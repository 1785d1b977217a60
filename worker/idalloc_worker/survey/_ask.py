"""Asks the whole fleet again and again, and tells what it did in between."""

import asyncio
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from idalloc_client import AsyncIdClient, IdAllocError
from idalloc_schemas import HealthReply
from idalloc_worker.survey._table import Poll, Table, compare

_COLLECT_FOR = 1.0  # seconds that workers have to answer, if the interval is not shorter
_PATIENCE = 5.0  # seconds to find a worker at all, where there is nobody who could wait for one


@dataclass(frozen=True, slots=True)
class View:
    """What the fleet did in the last interval, or why nobody answered."""

    table: Table
    problem: IdAllocError | None = None


async def look_once(client: AsyncIdClient, interval: float) -> Table:
    """Measure for one interval. Raises IdAllocError if no worker answers."""
    await client.health(timeout=_PATIENCE)
    before = await _poll(client, interval, _nothing_yet())
    return compare(before, await _poll(client, interval, before))


async def watch(client: AsyncIdClient, interval: float) -> AsyncGenerator[View, None]:
    """Give a view after each interval, without end, also while nobody answers."""
    before = _nothing_yet()
    while True:
        problem = None
        try:
            after = await _poll(client, interval, before)
        except IdAllocError as error:
            # Nobody answers. What is known of the workers grows old, and they are shown as gone.
            after, problem = before.then(time.monotonic(), ()), error
        yield View(compare(before, after), problem)
        before = after


async def _poll(client: AsyncIdClient, interval: float, before: Poll) -> Poll:
    """Ask the fleet, and return once the interval is over."""
    at = time.monotonic()
    replies: list[HealthReply] = []
    try:
        replies = await client.fleet_health(within=min(interval, _COLLECT_FOR))
    finally:
        await asyncio.sleep(max(at + interval - time.monotonic(), 0))
    return before.then(at, replies)


def _nothing_yet() -> Poll:
    return Poll(time.monotonic(), {})
