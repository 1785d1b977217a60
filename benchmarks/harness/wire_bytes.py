"""Counts the bytes of one request on the wire, from the frames that AMQP has for it."""

from dataclasses import dataclass

import pika
from pika.frame import Body, Header, Method

from idalloc_schemas import ALLOC_QUEUE

_REQUEST = b'{"app_tag":"order"}'
_REPLY = b'{"resp_code":0,"msg":"success","id":123456789012,"ranges":[[123456789012,123456789013]]}'
_REPLY_TO = "amq.rabbitmq.reply-to"
_ADDRESS = f"{_REPLY_TO}.{'x' * 69}"  # as long as those that RabbitMQ 3.10 makes of it
_CONSUMER = "idalloc worker host.example:4242 alloc"
_CORRELATION = "0123456789abcdef0123456789abcdef-123456"
_METHODS = pika.spec.Basic


@dataclass(frozen=True)
class WireBytes:
    """A request and its answer on each way, without TCP's own and without acknowledgements."""

    from_caller: int
    to_worker: int
    from_worker: int
    to_caller: int

    @property
    def broker_in(self) -> int:
        """What the broker receives."""
        return self.from_caller + self.from_worker

    @property
    def broker_out(self) -> int:
        """What it sends."""
        return self.to_worker + self.to_caller


def wire_bytes() -> WireBytes:
    """Count them for one id, asked for with a correlation id and a deadline."""
    asked, passed_on = (_asked(reply_to) for reply_to in (_REPLY_TO, _ADDRESS))
    answered = pika.BasicProperties(
        content_type="application/json",
        correlation_id=_CORRELATION,
        type="id.alloc.reply",
        app_id=_CONSUMER.removesuffix(" alloc"),
    )
    return WireBytes(
        _size(_METHODS.Publish(routing_key=ALLOC_QUEUE, mandatory=True), asked, _REQUEST),
        _size(_deliver(_CONSUMER, ALLOC_QUEUE), passed_on, _REQUEST),
        _size(_METHODS.Publish(routing_key=_ADDRESS), answered, _REPLY),
        _size(_deliver("replies", _ADDRESS), answered, _REPLY),
    )


def _asked(reply_to: str) -> pika.BasicProperties:
    return pika.BasicProperties(
        content_type="application/json",
        correlation_id=_CORRELATION,
        reply_to=reply_to,
        expiration="5000",
        type="id.alloc.request",
    )


def _deliver(consumer: str, routing_key: str) -> pika.spec.Basic.Deliver:
    return _METHODS.Deliver(consumer, 1, redelivered=False, exchange="", routing_key=routing_key)


def _size(
    method: pika.spec.Basic.Publish | pika.spec.Basic.Deliver,
    properties: pika.BasicProperties,
    body: bytes,
) -> int:
    frames = (Method(1, method), Header(1, len(body), properties), Body(1, body))
    return sum(len(frame.marshal()) for frame in frames)
