"""A worker whose answers a test writes itself."""

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import pika

from idalloc_schemas import encode_alloc_success, parse_alloc_request

Answer = Callable[[Any, pika.BasicProperties, bytes], None]


class StubWorker:
    """Consumes a queue on a thread of its own and gives each request to a function."""

    def __init__(self, amqp_url: str, answer: Answer, queue: str = "id.alloc") -> None:
        self._answer = answer
        self._connection = pika.BlockingConnection(pika.URLParameters(amqp_url))
        self._channel = self._connection.channel()
        self._channel.queue_declare(queue, durable=True)
        self._channel.basic_consume(queue, self._on_message, auto_ack=True)
        self._thread = threading.Thread(target=self._channel.start_consuming, name="stub-worker")

    def _on_message(
        self, channel: Any, _method: Any, properties: pika.BasicProperties, body: bytes
    ) -> None:
        self._answer(channel, properties, body)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._connection.is_open:
            self._connection.add_callback_threadsafe(self._channel.stop_consuming)
        self._thread.join(10)
        if self._connection.is_open:
            self._connection.close()


def send(channel: Any, request: pika.BasicProperties, body: bytes) -> None:
    """Reply to a request."""
    properties = pika.BasicProperties(correlation_id=request.correlation_id)
    channel.basic_publish("", request.reply_to, body, properties)


class IdCounter:
    """Answers with the next ids of one counter, and remembers what it was asked."""

    def __init__(self) -> None:
        self.next_id = 1
        self.seen: list[pika.BasicProperties] = []

    def __call__(self, channel: Any, request: pika.BasicProperties, body: bytes) -> None:
        self.seen.append(request)
        left = self.next_id
        self.next_id += parse_alloc_request(body).count
        send(channel, request, encode_alloc_success([(left, self.next_id)]))
