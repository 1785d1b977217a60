"""Requests for one id each, a fixed number of them in flight, from a bare pika connection.

No client gathers them, so each is a message of its own all the way.
"""

import json
import time
from typing import Any

import pika

from benchmarks._runner import BenchmarkError

_REPLY_TO = "amq.rabbitmq.reply-to"


def rate(amqp_url: str, app_tag: str, in_flight: int, seconds: float) -> float:
    """Keep requests in flight for some seconds; return ids per second."""
    return _Requests(amqp_url, app_tag, in_flight, seconds).run()


class _Requests:
    def __init__(self, amqp_url: str, app_tag: str, in_flight: int, seconds: float) -> None:
        self._body = json.dumps({"app_tag": app_tag}).encode()
        self._in_flight = in_flight
        self._seconds = seconds
        self._done = 0
        self._failure: bytes | None = None
        self._until = self._began = 0.0
        self._properties = pika.BasicProperties(
            reply_to=_REPLY_TO, expiration="10000", content_type="application/json"
        )
        self._connection = pika.SelectConnection(
            pika.URLParameters(amqp_url),
            on_open_callback=self._open,
            on_close_callback=lambda connection, _reason: connection.ioloop.stop(),
        )

    def run(self) -> float:
        self._connection.ioloop.start()
        if self._failure is not None:
            raise BenchmarkError(f"a request failed: {self._failure!r}")
        return self._done / (time.perf_counter() - self._began)

    def _open(self, connection: Any) -> None:
        connection.channel(on_open_callback=self._begin)

    def _begin(self, channel: Any) -> None:
        channel.basic_consume(
            _REPLY_TO, self._on_reply, auto_ack=True, callback=lambda _frame: self._start(channel)
        )

    def _start(self, channel: Any) -> None:
        self._began = time.perf_counter()
        self._until = self._began + self._seconds
        for _ in range(self._in_flight):
            self._send(channel)

    def _send(self, channel: Any) -> None:
        channel.basic_publish("", "id.alloc", self._body, self._properties)

    def _on_reply(self, channel: Any, _method: Any, _properties: Any, body: bytes) -> None:
        self._done += 1
        if not body.startswith(b'{"resp_code":0'):
            self._failure = body
        if time.perf_counter() < self._until and self._failure is None:
            self._send(channel)
        elif self._connection.is_open:
            self._connection.close()
