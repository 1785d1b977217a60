"""Attacks that only ask, as the contract allows it, but without measure."""

import json
from itertools import count
from typing import Final

import pika
from pika.spec import BasicProperties

from devstack.attacks.honest import PLAIN_TAG
from devstack.attacks.intruder import Intruder
from devstack.attacks.wire import DIRECT_REPLY_TO, message

ALLOC: Final = "id.alloc"
HEALTH: Final = "id.health"
MEBIBYTE: Final = 2**20

OTHERS_QUEUE: Final = "orders.replies"
"""Of another service, which does without direct reply-to."""

VICTIM_TAG: Final = "victim"
"""Of 2^31 ids, for everybody; its step follows the use, as it does by default."""

SMALL_TAG: Final = "small-steps"
"""Every id of it takes an UPDATE."""

SPENT_TAG: Final = "spent"
"""It has no ids left."""

PRIVATE_TAG: Final = "private"
"""For the honest caller alone."""


def _request(app_tag: str, ids: int = 1) -> bytes:
    return json.dumps({"app_tag": app_tag, "count": ids}).encode()


def _many(queue: str, bodies: list[bytes], expiration: str | None = None) -> bytes:
    """Prepare different messages as one."""
    properties = BasicProperties(reply_to=DIRECT_REPLY_TO, expiration=expiration)
    return b"".join(message(queue, body, properties) for body in bodies)


def singles(intruder: Intruder) -> None:
    """Ask for one id, as fast as a socket takes it."""
    intruder.flood(ALLOC, _request(PLAIN_TAG), reply_to=DIRECT_REPLY_TO)
    intruder.asks(PLAIN_TAG, intruder.deeds.messages)


def singles_by_pika(intruder: Intruder) -> None:
    """Ask for one id, as fast as a common library does it."""
    properties = pika.BasicProperties(reply_to=DIRECT_REPLY_TO)
    with pika.BlockingConnection(pika.URLParameters(intruder.facts.amqp_url)) as connection:
        channel = connection.channel()
        channel.basic_consume(DIRECT_REPLY_TO, lambda *_: None, auto_ack=True)
        while not intruder.over:
            channel.basic_publish("", ALLOC, _request(PLAIN_TAG), properties)
            intruder.deeds.messages += 1
            if intruder.deeds.messages % 100 == 0:
                connection.process_data_events(0)
    intruder.asks(PLAIN_TAG, intruder.deeds.messages)


def expired(intruder: Intruder) -> None:
    """Ask with a deadline that is over before anybody reads it."""
    intruder.flood(ALLOC, _request(PLAIN_TAG), reply_to=DIRECT_REPLY_TO, expiration="1")
    intruder.asks(PLAIN_TAG, intruder.deeds.messages)


def exhaustion(intruder: Intruder) -> None:
    """Ask for a million ids at a time of a tag that has 2^31."""
    intruder.flood(ALLOC, _request(VICTIM_TAG, 10**6), reply_to=DIRECT_REPLY_TO)
    intruder.asks(VICTIM_TAG, 10**6 * intruder.deeds.messages)


def small_steps(intruder: Intruder) -> None:
    """Ask for a thousand ids of a tag whose row gives one at a time, so that all of them wait."""
    for _ in intruder.beats():
        intruder.publish(ALLOC, _request(SMALL_TAG, 1000), 2000, reply_to=DIRECT_REPLY_TO)
    intruder.asks(SMALL_TAG, 1000 * intruder.deeds.messages)


def spent(intruder: Intruder) -> None:
    """Ask for a tag that is used up."""
    intruder.flood(ALLOC, _request(SPENT_TAG), reply_to=DIRECT_REPLY_TO)


def forbidden(intruder: Intruder) -> None:
    """Ask for a tag that is for others."""
    intruder.flood(ALLOC, _request(PRIVATE_TAG), reply_to=DIRECT_REPLY_TO)


def unknown_tags(intruder: Intruder) -> None:
    """Ask for 20,000 tags a second that nobody has, each another one."""
    names = count()
    for _ in intruder.beats(0.25):
        bodies = [_request(f"nobody-{next(names)}") for _ in range(5000)]
        intruder.write(_many(ALLOC, bodies), 1, messages=len(bodies))


def large_requests(intruder: Intruder) -> None:
    """Send requests of 16 MB."""
    intruder.flood(ALLOC, b"x" * (16 * MEBIBYTE - 1024), reply_to=DIRECT_REPLY_TO)


def large_unanswerable(intruder: Intruder) -> None:
    """Send 1 MB that names no queue for an answer, so that it is dead-lettered."""
    intruder.flood(ALLOC, b"x" * MEBIBYTE)


def deep_headers(intruder: Intruder) -> None:
    """Send headers of 3,000 tables in one another, 20 a second."""
    prepared = _nested(3000)
    for _ in intruder.beats(0.1):
        intruder.write(prepared, 2)
    intruder.asks(PLAIN_TAG, intruder.deeds.messages)


def flood_of_deep_headers(intruder: Intruder) -> None:
    """Send headers of 1,000 tables in one another, as fast as a socket takes it."""
    intruder.flood_with(_nested(1000))
    intruder.asks(PLAIN_TAG, intruder.deeds.messages)


def traced(intruder: Intruder) -> None:
    """Ask for one id, each time as part of a trace, with as much baggage as is looked through."""
    headers = {"traceparent": f"00-{'7' * 32}-{'7' * 16}-01", "baggage": "x" * 16_000}
    intruder.flood(ALLOC, _request(PLAIN_TAG), reply_to=DIRECT_REPLY_TO, headers=headers)
    intruder.asks(PLAIN_TAG, intruder.deeds.messages)


def _nested(levels: int) -> bytes:
    """Prepare a request whose header is a table in a table, and so on, which no library writes."""
    properties = BasicProperties(headers={"a": {}}, reply_to=DIRECT_REPLY_TO)
    prepared = message(ALLOC, _request(PLAIN_TAG), properties)
    empty = b"\x01aF\x00\x00\x00\x00"
    nested = b""
    for _ in range(levels):
        nested = b"\x01aF" + len(nested).to_bytes(4, "big") + nested
    assert prepared.count(empty) == 1
    return _resized(prepared, empty, nested)


def _resized(prepared: bytes, old: bytes, new: bytes) -> bytes:
    """Put another table into the header frame, with its length and the frame's."""
    grown = len(new) - len(old)
    at = prepared.index(old)
    start = prepared.rindex(b"\x02\x00\x01", 0, at)  # a header frame on channel 1
    size = int.from_bytes(prepared[start + 3 : start + 7], "big") + grown
    table = int.from_bytes(prepared[at - 4 : at], "big") + grown
    return b"".join(
        [
            prepared[: start + 3],
            size.to_bytes(4, "big"),
            prepared[start + 7 : at - 4],
            table.to_bytes(4, "big"),
            new,
            prepared[at + len(old) :],
        ]
    )


def fleet_health(intruder: Intruder) -> None:
    """Ask for the health of all tags of all workers."""
    intruder.flood(HEALTH, b'{"fleet":true}', reply_to=DIRECT_REPLY_TO)


def health(intruder: Intruder) -> None:
    """Ask for the health of all tags of a worker."""
    intruder.flood(HEALTH, b"{}", reply_to=DIRECT_REPLY_TO)


def health_unread(intruder: Intruder) -> None:
    """Ask for the health of all, 300 times a second, and never read an answer."""
    for _ in intruder.beats():
        intruder.publish(HEALTH, b'{"fleet":true}', 300, reading=False, reply_to=DIRECT_REPLY_TO)


def health_into_a_queue(intruder: Intruder) -> None:
    """Have the answers put into a queue of another service."""
    for _ in intruder.beats():
        intruder.publish(HEALTH, b'{"fleet":true}', 300, reply_to=intruder.facts.reply_queue)


def ids_into_a_queue(intruder: Intruder) -> None:
    """Have ids sent to another service, which did not ask for them."""
    intruder.flood(ALLOC, _request(PLAIN_TAG), reply_to=intruder.facts.reply_queue)
    intruder.asks(PLAIN_TAG, intruder.deeds.messages)


def ids_unread(intruder: Intruder) -> None:
    """Ask for ids, and never read an answer."""
    for _ in intruder.beats():
        intruder.publish(ALLOC, _request(PLAIN_TAG), 5000, reading=False, reply_to=DIRECT_REPLY_TO)
    intruder.asks(PLAIN_TAG, intruder.deeds.messages)
