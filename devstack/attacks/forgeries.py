"""Attacks on queues that are for workers alone: a caller may write to each whose name it knows."""

import json
from typing import Any, Final

from pika.spec import BasicProperties

from devstack import amqp10
from devstack.attacks.floods import ALLOC, HEALTH
from devstack.attacks.honest import ORDERED_TAG, PLAIN_TAG
from devstack.attacks.intruder import Intruder
from devstack.attacks.wire import DIRECT_REPLY_TO, message
from idalloc_schemas import ALLOC_REQUEST_TYPE, MARKS_STREAM
from idalloc_worker.ordered._bundles import BUNDLE_TYPE
from idalloc_worker.tags._partitions import QUEUES, partition_of

ORDERED_VICTIM: Final = "ordered-victim"
"""An ordered tag of 2^31 ids, from which the attacker asks for none."""

FAR: Final = 9_200_000_000_000_000_000
"""Near to the end of 63 bits."""

_MEBIBYTE: Final = 2**20
_ROWS: Final = 256  # as many as a worker reads in one bundle


def _bundle(app_tag: str, ids: int) -> bytes:
    # To a queue that is not there, so that the answers cost the attacker nothing.
    some = [[app_tag, ids, "nowhere", f"c{row}", "idalloc-caller"] for row in range(_ROWS)]
    return json.dumps({"requests": some}).encode()


def _prepared(queue: str, body: bytes, message_type: str = BUNDLE_TYPE) -> bytes:
    return message(queue, body, BasicProperties(type=message_type, delivery_mode=1))


def bundles(intruder: Intruder) -> None:
    """Send 2.8 MB of bundles each second, to all partitions."""
    tags = {partition_of(tag): tag for tag in (*map("many-{}".format, range(100)), ORDERED_TAG)}
    prepared = b"".join(_prepared(QUEUES[number], _bundle(tags[number], 1)) for number in tags)
    times = 2_800_000 // len(prepared)
    for _ in intruder.beats():
        for _ in range(times):
            intruder.write(prepared, 1, messages=len(QUEUES))


def bundles_that_take(intruder: Intruder) -> None:
    """Send 128 kB of bundles each second, which take 1.5 billion ids of an ordered tag."""
    queue = QUEUES[partition_of(ORDERED_VICTIM)]
    prepared = _prepared(queue, _bundle(ORDERED_VICTIM, 10**6))
    for _ in intruder.beats():
        intruder.write(prepared, 8)


def large_bundles(intruder: Intruder) -> None:
    """Send a bundle of 16 MB each second."""
    queue = QUEUES[partition_of(ORDERED_TAG)]
    begin, bracket, rows = _bundle(ORDERED_TAG, 1).removesuffix(b"]}").partition(b"[")
    times = (16 * _MEBIBYTE - 1024) // len(rows + b",")
    prepared = _prepared(queue, begin + bracket + b",".join([rows] * times) + b"]}")
    for _ in intruder.beats():
        intruder.write(prepared, 1)


def flood_of_ordered(intruder: Intruder) -> None:
    """Fill the queue of a partition with anything, as fast as a socket takes it."""
    intruder.flood_with(_prepared(QUEUES[partition_of(ORDERED_TAG)], b"{}"))


def _to_owner(intruder: Intruder, app_tag: str, at: str, ids: int = 1) -> None:
    queue = QUEUES[partition_of(at)]
    body = json.dumps({"app_tag": app_tag, "count": ids}).encode()
    intruder.flood(queue, body, type=ALLOC_REQUEST_TYPE, reply_to=DIRECT_REPLY_TO)
    intruder.asks(app_tag, ids * intruder.deeds.messages)


def singles_to_an_owner(intruder: Intruder) -> None:
    """Ask an ordered tag's owner for one id, as fast as a socket takes it."""
    _to_owner(intruder, ORDERED_TAG, ORDERED_TAG)


def exhaustion_at_an_owner(intruder: Intruder) -> None:
    """Ask an owner for a million ids at a time of a tag that has 2^31."""
    _to_owner(intruder, ORDERED_VICTIM, ORDERED_VICTIM, 10**6)


def singles_to_another_owner(intruder: Intruder) -> None:
    """Ask an owner for a tag of another partition."""
    _to_owner(intruder, ORDERED_VICTIM, ORDERED_TAG)


def _fleet_bodies() -> list[bytes]:
    """Write what workers say to each other, about rows that are far from where they are."""
    names = ("nobody", "")
    some: list[dict[str, Any]] = []
    for worker in names:
        span = {"worker": worker, "app_tag": PLAIN_TAG, "left": FAR - 1000, "right": FAR}
        entries = [[PLAIN_TAG, worker, FAR], [ORDERED_TAG, worker, FAR]]
        some += [
            {"type": "reserved", "at": FAR, **span},
            {"type": "reserved", "kept": True, **span},
            {"type": "surrendered", "rest": 0, **span},
            {"type": "marks", "worker": worker, "entries": entries},
            {"type": "marks", "worker": worker, "entries": entries, "part": 0},
            {"type": "hello", "worker": worker, "reply_to": MARKS_STREAM},
            {"type": "alive", "worker": worker, "at": FAR},
            {"type": "echo", "worker": worker, "number": 0},
            {"type": "echo", "worker": worker, "number": FAR},
            {"type": "health", "worker": worker, "reply_to": DIRECT_REPLY_TO},
        ]
    return [json.dumps({"v": 1, **body}).encode() for body in some]


def fleet_messages(intruder: Intruder) -> None:
    """Speak to the workers' own queues as if to the fleet, also while they come back."""
    bodies = _fleet_bodies()
    for _ in intruder.beats(0.1):
        for queue in intruder.fleet_queues:
            for body in bodies:
                intruder.write(_prepared(queue, body, "id.fleet"), 1)


def flood_of_fleet_queues(intruder: Intruder) -> None:
    """Fill the workers' own queues, as fast as a socket takes it."""
    body = json.dumps({"type": "marks", "worker": "nobody", "entries": [["x", "y", 1]] * 500})
    while not intruder.over:
        for queue in intruder.fleet_queues:
            intruder.write(_prepared(queue, body.encode(), "id.fleet"), 10)


def flood_of_marks(intruder: Intruder) -> None:
    """Write what nobody said into the stream in which the broker keeps what workers say."""
    prepared = [_prepared(MARKS_STREAM, body, "id.fleet") for body in _fleet_bodies()]
    intruder.flood_with(b"".join(prepared) * 10, messages=10 * len(prepared))


def large_marks(intruder: Intruder) -> None:
    """Push what the stream holds out of it, with messages of 1 MB."""
    intruder.flood_with(_prepared(MARKS_STREAM, b"x" * _MEBIBYTE, "id.fleet"))


def flood_of_dead_letters(intruder: Intruder) -> None:
    """Fill the queue of dead letters."""
    intruder.flood("id.dead", b"x" * 65_536)


def replies_in_circles(intruder: Intruder) -> None:
    """Have answers sent to the workers' own queues, which would answer them again."""
    queues = (ALLOC, HEALTH, "id.dead", MARKS_STREAM, *QUEUES)
    bodies = ((ALLOC, b'{"app_tag":"%s"}' % PLAIN_TAG.encode()), (HEALTH, b"{}"))
    for _ in intruder.beats(0.1):
        for queue in (*queues, *intruder.fleet_queues):
            for to, body in bodies:
                intruder.publish(to, body, 50, reply_to=queue)
    intruder.asks(PLAIN_TAG, intruder.deeds.messages)


def malformed_reply_to(intruder: Intruder) -> None:
    """Name addresses for the answer on which RabbitMQ 3.10 closes the worker's connection."""
    addresses = ("x.y", "x", "", "g1hkAA.x", "." * 100, "a.b.c", "AAAA.\xff")
    for _ in intruder.beats(0.1):
        for address in addresses:
            for queue, body in ((ALLOC, b'{"app_tag":"%s"}' % PLAIN_TAG.encode()), (HEALTH, b"{}")):
                intruder.publish(queue, body, reply_to=f"{DIRECT_REPLY_TO}.{address}")
    intruder.asks(PLAIN_TAG, intruder.deeds.messages)


def poison(intruder: Intruder) -> None:
    """Send what RabbitMQ 4 takes over AMQP 1.0, and what ends connections of AMQP 0-9-1."""
    culprit = amqp10.properties(content_type=amqp10.symbol("x" * 256))
    with amqp10.Sender(intruder.facts.amqp_url, ALLOC) as alloc:
        alloc.send(culprit, amqp10.data(b"{}"))
    with amqp10.Sender(intruder.facts.amqp_url, HEALTH) as asking:
        asking.send(culprit, amqp10.data(b"{}"))
    intruder.deeds.messages += 2
    for _ in intruder.beats():
        pass
