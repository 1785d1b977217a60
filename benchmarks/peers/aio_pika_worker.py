"""A worker on aio-pika alone: parses JSON, counts, replies, acknowledges.

As the RPC server of aio-pika's tutorial, but that it may prefetch more, and that no reply waits for
the broker's confirm before the next request is taken.
Source: https://docs.aio-pika.com/rabbitmq-tutorial/6-rpc.html.
"""

import asyncio
import json
from itertools import count

import aio_pika
from aio_pika.abc import AbstractExchange, AbstractIncomingMessage

from benchmarks.harness.site import peer_amqp_url

QUEUE = "benchmark.aio-pika"
PREFETCH = 200  # more than are in flight: the worker never waits for its own acks

_ids = count(1)


def reply(body: bytes) -> bytes:
    """Answer one request from memory."""
    json.loads(body)
    number = next(_ids)
    answer = b'{"resp_code":0,"msg":"success","id":%d,"ranges":[[%d,%d]]}'
    return answer % (number, number, number + 1)


async def _answer(exchange: AbstractExchange, message: AbstractIncomingMessage) -> None:
    async with message.process(requeue=False):
        await exchange.publish(
            aio_pika.Message(
                reply(message.body),
                content_type="application/json",
                correlation_id=message.correlation_id,
            ),
            str(message.reply_to),
            mandatory=False,  # RabbitMQ up to 4.1 returns a reply for which it is set
        )


async def _serve() -> None:
    connection = await aio_pika.connect(peer_amqp_url())
    channel = await connection.channel(publisher_confirms=False)
    await channel.set_qos(prefetch_count=PREFETCH)
    queue = await channel.declare_queue(QUEUE, auto_delete=True)
    exchange = channel.default_exchange
    print("ready", flush=True)
    async with queue.iterator() as messages:
        async for message in messages:
            await _answer(exchange, message)


if __name__ == "__main__":
    asyncio.run(_serve())
