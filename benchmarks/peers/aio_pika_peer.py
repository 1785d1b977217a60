"""aio-pika's RPC pattern, both sides, as its documentation shows it."""

import asyncio
from collections.abc import Iterator
from itertools import count
from typing import Self

import aio_pika
from aio_pika.abc import AbstractRobustConnection
from aio_pika.patterns import RPC

from benchmarks.harness.site import peer_amqp_url

METHOD = "benchmark_next_id"
_ids: Iterator[int] = count(1)


async def next_id(*, app_tag: str) -> int:
    """Answer from memory, as idalloc's worker does."""
    del app_tag
    return next(_ids)


class AioPikaRpc:
    """The caller's side."""

    def __init__(self, connection: AbstractRobustConnection, rpc: RPC) -> None:
        self._connection = connection
        self._rpc = rpc

    @classmethod
    async def open(cls, amqp_url: str) -> Self:
        """Connect."""
        connection = await aio_pika.connect_robust(amqp_url)
        return cls(connection, await RPC.create(await connection.channel()))

    async def next_id(self, app_tag: str) -> int:
        """Ask for one id."""
        drawn: int = await self._rpc.proxy.benchmark_next_id(app_tag=app_tag)
        return drawn

    async def close(self) -> None:
        """Disconnect."""
        await self._rpc.close()
        await self._connection.close()


async def _serve() -> None:
    connection = await aio_pika.connect_robust(peer_amqp_url())
    async with connection:
        rpc = await RPC.create(await connection.channel())
        await rpc.register(METHOD, next_id, auto_delete=True)
        print("ready", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve())
