"""FastStream's RPC over RabbitMQ, both sides, as its documentation shows it.

Source: https://faststream.ag2.ai/latest/rabbit/rpc/. It logs nothing, where by itself it writes two
lines for each message. The channel stays as it is, with confirms, but for its prefetch: without
them it is no faster, for RabbitMQ up to 4.1 returns each of its replies, which are `mandatory`.
"""

import asyncio
from itertools import count
from typing import Self

from faststream.rabbit import Channel, RabbitBroker, RabbitQueue
from pydantic import BaseModel

from benchmarks.harness.site import peer_amqp_url

QUEUE = "benchmark.faststream"
PREFETCH = 200  # more than are in flight: the worker never waits for its own acks

_ids = count(1)


class Request(BaseModel):
    """What the peer is asked."""

    app_tag: str


class Reply(BaseModel):
    """What it answers."""

    resp_code: int
    msg: str
    id: int
    ranges: list[tuple[int, int]]


async def next_id(_request: Request) -> Reply:
    """Answer from memory, as idalloc's worker does."""
    number = next(_ids)
    return Reply(resp_code=0, msg="success", id=number, ranges=[(number, number + 1)])


class FastStreamRpc:
    """The caller's side."""

    def __init__(self, broker: RabbitBroker) -> None:
        self._broker = broker

    @classmethod
    async def open(cls, amqp_url: str) -> Self:
        """Connect."""
        broker = RabbitBroker(amqp_url, logger=None)
        await broker.connect()
        return cls(broker)

    async def next_id(self, app_tag: str) -> int:
        """Ask for one id."""
        answer = await self._broker.request(Request(app_tag=app_tag), QUEUE)
        return Reply.model_validate(await answer.decode()).id

    async def close(self) -> None:
        """Disconnect."""
        await self._broker.stop()


async def _serve() -> None:
    channel = Channel(prefetch_count=PREFETCH)
    broker = RabbitBroker(peer_amqp_url(), default_channel=channel, logger=None)
    broker.subscriber(RabbitQueue(QUEUE, auto_delete=True))(next_id)
    await broker.start()
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve())
