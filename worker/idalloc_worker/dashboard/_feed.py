"""Asks the fleet on behalf of everybody who looks, and nobody while nobody does."""

import asyncio
import time
from contextlib import aclosing
from typing import Never

from idalloc_client import AsyncIdClient
from idalloc_worker.dashboard._picture import picture
from idalloc_worker.survey import watch

LINGER = 5.0
"""Seconds that the fleet is still asked after somebody looked last; pages look once an interval."""


class Feed:
    """Belongs to one loop."""

    def __init__(self, client: AsyncIdClient, interval: float, *, linger: float = LINGER) -> None:
        self._client = client
        self._interval = interval
        self._linger = linger
        self._number = 0
        self._latest = b""  # nothing while nobody looks: it would be old news
        self._changed = asyncio.Condition()
        self._looked = asyncio.Event()
        self._looking = 0
        self._looked_at = 0.0

    async def newer_than(self, number: int) -> bytes:
        """Give the latest picture; wait for the next one if it is the one of this number."""
        self._looking += 1
        self._looked.set()
        try:
            async with self._changed:
                await self._changed.wait_for(lambda: self._latest and self._number != number)
                return self._latest
        finally:
            self._looking -= 1
            self._looked_at = time.monotonic()

    async def run(self) -> Never:
        """Ask on and on; only a fault of this program ends it."""
        while True:
            await self._looked.wait()
            async with aclosing(watch(self._client, self._interval)) as views:
                async for view in views:
                    self._number += 1
                    connected = self._client.stats().connected
                    shown = picture(self._number, self._interval, view, connected=connected)
                    await self._publish(shown.encode())
                    if self._deserted:
                        self._latest = b""
                        self._looked.clear()
                        break

    async def _publish(self, latest: bytes) -> None:
        async with self._changed:
            self._latest = latest
            self._changed.notify_all()

    @property
    def _deserted(self) -> bool:
        return not self._looking and time.monotonic() > self._looked_at + self._linger
