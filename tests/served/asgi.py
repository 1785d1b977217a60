"""Draws at each request, as an ASGI application, from a client of each kind."""

import asyncio
import os
from typing import Any

from idalloc_client import AsyncIdClient
from tests.served import URL, draw, record

_client = AsyncIdClient(URL, timeout=100)
_ids = _client.sequence("test_business")


async def _draw() -> None:
    record([await anext(_ids) for _ in range(150)] + [await _client.next_id("test_business")])


if "SERVED_PRELOAD" in os.environ:  # the loop of this process is not that of the next one
    asyncio.run(_draw())


async def application(scope: Any, _receive: Any, send: Any) -> None:
    """Answer with the process id."""
    if scope["type"] != "http":
        return
    await _draw()
    await asyncio.to_thread(draw)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(os.getpid()).encode()})
