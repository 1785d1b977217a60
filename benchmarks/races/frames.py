"""Writing a request's frames, and taking a reply out of the stream: the short way beside pika's.

No broker: what is measured is the work on the bytes. On pika's side of reading that is the decoding
only; what a delivery costs it beyond that, its look-ups and callbacks, comes on top.
"""

import sys
import time
from collections.abc import Callable

import pika.frame
import pika.spec

from benchmarks.harness.command import main
from benchmarks.harness.runner import Bar, Plan, Race, Report, run
from benchmarks.harness.turns import Contender
from idalloc_client.amqp._io._delivery_reader import DeliveryReader
from idalloc_client.amqp._io._frames import Properties, content, publish_method

TITLE = "A message's frames"
DEFAULT = Plan(rounds=5, seconds=0.5, budget=30.0)

_WRITE, _PIKA_WRITE = "write", "write, pika"
_READ, _PIKA_READ = "read", "read, pika"
BARS = (Bar(_WRITE, (_PIKA_WRITE,), 2.0), Bar(_READ, (_PIKA_READ,), 1.2))

_CHANNEL = 1
_BODY = b'{"resp_code":0,"msg":"success","id":1,"ranges":[[1,2]]}'
_PROPERTIES = {
    "content_type": "application/json",
    "correlation_id": "0123456789abcdef0123456789abcdef-123456",
    "reply_to": "amq.rabbitmq.reply-to",
    "expiration": "5000",
    "type": "idalloc.alloc.request",
}
_CHUNK = 100


def measure(plan: Plan) -> Report:
    """Write and read the same message over and over."""
    ours = Properties()
    for key, value in _PROPERTIES.items():
        setattr(ours, key, value.encode())
    theirs = pika.spec.BasicProperties(**_PROPERTIES, delivery_mode=1)
    method = publish_method(_CHANNEL, b"id.alloc", mandatory=True)
    deliver = pika.spec.Basic.Deliver("replies", 1, redelivered=False, exchange="", routing_key="x")
    stream = _marshal(deliver, theirs)
    reader = DeliveryReader(_unexpected)
    reader.take(_CHANNEL, b"replies", lambda *_: None)

    def write() -> None:
        method + content(_CHANNEL, ours, _BODY, 100_000)  # as the wire does

    def write_with_pika() -> None:
        publish = pika.spec.Basic.Publish(exchange="", routing_key="id.alloc", mandatory=True)
        _marshal(publish, theirs)

    def read_with_pika() -> None:
        rest = stream
        while rest:
            size, _ = pika.frame.decode_frame(rest)
            rest = rest[size:]

    contenders = [
        Contender(_WRITE, lambda seconds: _rate(write, seconds)),
        Contender(_PIKA_WRITE, lambda seconds: _rate(write_with_pika, seconds)),
        Contender(_READ, lambda seconds: _rate(lambda: reader.feed(stream), seconds)),
        Contender(_PIKA_READ, lambda seconds: _rate(read_with_pika, seconds)),
    ]
    return run(Race(TITLE, "messages/s", contenders, BARS, alternating="all"), plan)


def _marshal(
    method: pika.spec.Basic.Deliver | pika.spec.Basic.Publish,
    properties: pika.spec.BasicProperties,
) -> bytes:
    return (
        pika.frame.Method(_CHANNEL, method).marshal()
        + pika.frame.Header(_CHANNEL, len(_BODY), properties).marshal()
        + pika.frame.Body(_CHANNEL, _BODY).marshal()
    )


def _unexpected(data: bytes) -> None:
    raise AssertionError(f"{len(data)} bytes were passed on")


def _rate(work: Callable[[], None], seconds: float) -> float:
    started = time.perf_counter()
    until = started + seconds
    done = 0
    while (now := time.perf_counter()) < until:
        for _ in range(_CHUNK):
            work()
        done += _CHUNK
    return done / (now - started)


if __name__ == "__main__":
    sys.exit(main(measure, __doc__, DEFAULT))
