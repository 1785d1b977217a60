"""RabbitMQ's tutorial six (RPC) for pika, both sides; the server answers the id it counts to.

Source: https://www.rabbitmq.com/tutorials/tutorial-six-python. Nothing is changed but the work that
the server does, the queue's name, and that a connection may idle between rounds (no heartbeat).
"""

import uuid
from itertools import count

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.spec import Basic, BasicProperties

from benchmarks.harness.site import peer_amqp_url

QUEUE = "rpc_queue"


def connect(amqp_url: str) -> pika.BlockingConnection:
    """Open a connection without heartbeats: nobody serves it between rounds."""
    parameters = pika.URLParameters(amqp_url)
    parameters.heartbeat = 0
    return pika.BlockingConnection(parameters)


class TutorialClient:
    """The tutorial's `FibonacciRpcClient`, for any queue and body."""

    def __init__(self, amqp_url: str, queue: str = QUEUE) -> None:
        self.queue = queue
        self.response: bytes | None = None
        self.corr_id = ""
        self.connection = connect(amqp_url)
        self.channel = self.connection.channel()
        result = self.channel.queue_declare(queue="", exclusive=True)
        self.callback_queue = result.method.queue
        self.channel.basic_consume(
            queue=self.callback_queue, on_message_callback=self.on_response, auto_ack=True
        )

    def on_response(
        self,
        _channel: BlockingChannel,
        _method: Basic.Deliver,
        properties: BasicProperties,
        body: bytes,
    ) -> None:
        """Take the reply."""
        if self.corr_id == properties.correlation_id:
            self.response = body

    def call(self, body: str) -> bytes:
        """Ask and wait."""
        self.response = None
        self.corr_id = str(uuid.uuid4())
        self.channel.basic_publish(
            exchange="",
            routing_key=self.queue,
            properties=BasicProperties(reply_to=self.callback_queue, correlation_id=self.corr_id),
            body=body.encode(),
        )
        while self.response is None:
            self.connection.process_data_events(time_limit=None)
        return self.response

    def close(self) -> None:
        """Disconnect."""
        self.connection.close()


def _serve() -> None:
    ids = count(1)

    def on_request(
        channel: BlockingChannel, method: Basic.Deliver, props: BasicProperties, _body: bytes
    ) -> None:
        channel.basic_publish(
            exchange="",
            routing_key=props.reply_to,
            properties=BasicProperties(correlation_id=props.correlation_id),
            body=str(next(ids)).encode(),
        )
        channel.basic_ack(delivery_tag=method.delivery_tag)

    channel = connect(peer_amqp_url()).channel()
    channel.queue_declare(queue=QUEUE)
    channel.basic_qos(prefetch_count=1)
    channel.basic_consume(queue=QUEUE, on_message_callback=on_request)
    print("ready", flush=True)
    channel.start_consuming()


if __name__ == "__main__":
    _serve()
