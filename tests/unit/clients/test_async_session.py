"""The short way of a task's call: whoever may not take it disturbs nobody."""

import asyncio
import threading
from typing import Any

import pytest

from idalloc_client import AsyncIdClient, ConnectionLostError

NOBODY = "amqp://guest:guest@127.0.0.1:1/"


def test_a_task_of_another_thread_joins_no_request() -> None:
    """Its call is refused; the loop that the client is in use on does not even notice."""
    refused: list[BaseException] = []

    async def elsewhere(client: AsyncIdClient) -> None:
        with pytest.raises(RuntimeError, match="another event loop") as caught:
            await client.next_id("order")
        refused.append(caught.value)

    async def run() -> None:
        client = AsyncIdClient(NOBODY, timeout=0.05)
        with pytest.raises(ConnectionLostError):
            await client.next_id("order")  # from now on, calls go the short way
        session: Any = client._session
        before = len(session._due), session.waiting
        thread = threading.Thread(target=lambda: asyncio.run(elsewhere(client)))
        thread.start()
        thread.join()
        assert len(refused) == 1
        assert (len(session._due), session.waiting) == before
        await client.close()

    asyncio.run(run())
