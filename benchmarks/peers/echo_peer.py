"""The least that pika can do for a call over direct reply-to: a server and two kinds of client."""

import json
import time
from collections.abc import Callable, Iterator
from itertools import count

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.channel import Channel
from pika.spec import Basic, BasicProperties

from benchmarks.harness.site import peer_amqp_url
from benchmarks.peers.tutorial_peer import connect

QUEUE = "benchmark.echo"
REQUEST = b'{"app_tag":"test_business","count":1}'
_REPLY_TO = "amq.rabbitmq.reply-to"
_PROPERTIES = BasicProperties(content_type="application/json", correlation_id="1")
_LIMIT = 30.0  # seconds for a whole turn beyond its length


class BlockingEcho:
    """Calls with a BlockingConnection."""

    def __init__(self, amqp_url: str) -> None:
        self._connection = connect(amqp_url)
        self._channel = self._connection.channel()
        self._channel.basic_consume(_REPLY_TO, self._on_reply, auto_ack=True)
        self._reply: bytes | None = None
        self._properties = BasicProperties(
            content_type="application/json", correlation_id="1", reply_to=_REPLY_TO
        )

    def call(self) -> bytes:
        """Ask and wait."""
        self._reply = None
        self._channel.basic_publish("", QUEUE, REQUEST, self._properties)
        while self._reply is None:
            self._connection.process_data_events(time_limit=None)
        return self._reply

    def close(self) -> None:
        """Disconnect."""
        self._connection.close()

    def _on_reply(
        self, _channel: BlockingChannel, _method: Basic.Deliver, _p: BasicProperties, body: bytes
    ) -> None:
        self._reply = body


class CallbackEcho:
    """Calls with a SelectConnection, whose loop runs during `latencies` only."""

    def __init__(self, amqp_url: str) -> None:
        parameters = pika.URLParameters(amqp_url)
        parameters.heartbeat = 0
        self._channel: Channel | None = None
        self._connection = pika.SelectConnection(parameters, on_open_callback=self._on_open)
        self._connection.ioloop.start()
        self._properties = BasicProperties(
            content_type="application/json", correlation_id="1", reply_to=_REPLY_TO
        )
        self._latencies: list[float] = []
        self._sent = 0.0
        self._until = 0.0

    def latencies(self, seconds: float) -> list[float]:
        """Call one after the other for some seconds; return how long each took, in seconds."""
        self._latencies = []
        self._until = time.perf_counter() + seconds
        limit = self._connection.ioloop.call_later(seconds + _LIMIT, self._connection.ioloop.stop)
        self._send()
        self._connection.ioloop.start()
        self._connection.ioloop.remove_timeout(limit)
        return self._latencies

    def close(self) -> None:
        """Disconnect."""
        self._connection.add_on_close_callback(lambda *_: self._connection.ioloop.stop())
        self._connection.close()
        self._connection.ioloop.start()

    def _on_open(self, connection: pika.SelectConnection) -> None:
        connection.channel(on_open_callback=self._on_channel)

    def _on_channel(self, channel: Channel) -> None:
        def on_consuming(_frame: object) -> None:
            self._connection.ioloop.stop()

        self._channel = channel
        channel.basic_consume(_REPLY_TO, self._on_reply, auto_ack=True, callback=on_consuming)

    def _send(self) -> None:
        assert self._channel is not None
        self._sent = time.perf_counter()
        self._channel.basic_publish("", QUEUE, REQUEST, self._properties)

    def _on_reply(
        self, _channel: Channel, _method: Basic.Deliver, _p: BasicProperties, _body: bytes
    ) -> None:
        now = time.perf_counter()
        self._latencies.append(now - self._sent)
        if now < self._until:
            self._send()
        else:
            self._connection.ioloop.stop()


def _replier(ids: Iterator[int]) -> Callable[..., None]:
    def on_request(
        channel: Channel, _method: Basic.Deliver, properties: BasicProperties, body: bytes
    ) -> None:
        json.loads(body)
        number = next(ids)
        reply = b'{"resp_code":0,"msg":"success","id":%d,"ranges":[[%d,%d]]}'
        answer = reply % (number, number, number + 1)
        channel.basic_publish("", str(properties.reply_to), answer, _PROPERTIES)

    return on_request


def _serve() -> None:
    parameters = pika.URLParameters(peer_amqp_url())
    parameters.heartbeat = 0

    def on_declared(channel: Channel) -> None:
        channel.basic_consume(QUEUE, _replier(count(1)), auto_ack=True)
        print("ready", flush=True)

    def on_channel(channel: Channel) -> None:
        channel.queue_declare(QUEUE, callback=lambda _frame: on_declared(channel))

    def on_open(connection: pika.SelectConnection) -> None:
        connection.channel(on_open_callback=on_channel)

    pika.SelectConnection(parameters, on_open_callback=on_open).ioloop.start()


if __name__ == "__main__":
    _serve()
