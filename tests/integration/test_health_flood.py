"""Questions about health, however many, do not hold up requests for ids."""

import json

import pika
import pytest

from devstack.workers import Fleet, blocking_connection
from idalloc_client import IdClient
from tests.foreign import ForeignClient

FLOOD = 300
AT_A_TIME = 20
AHEAD = 100
"""Answers about health that may come before the one with an id."""


@pytest.mark.parametrize("question", [b"{}", b'{"fleet":true}'])
def test_a_flood_of_health_requests(fleet: Fleet, question: bytes) -> None:
    """A request that comes after all of them is answered among the first."""
    (worker,) = fleet.start()
    with IdClient(fleet.amqp_url) as client:
        client.next_id("test_business", timeout=30)  # from here on it is answered from memory
    with blocking_connection(fleet.amqp_url) as connection:
        channel = connection.channel()
        replies = str(channel.queue_declare("", exclusive=True).method.queue)
        properties = pika.BasicProperties(reply_to=replies)
        channel.confirm_delivery()  # what is published is in its queue
        worker.pause()  # so that all of them wait when it goes on
        for _ in range(FLOOD):
            channel.basic_publish("", "id.health", question, properties)
        channel.basic_publish("", "id.alloc", b'{"app_tag":"test_business"}', properties)
        waiting = channel.queue_declare("id.health", passive=True).method.message_count
        worker.resume()
        before = 0
        for _method, _properties, body in channel.consume(replies, auto_ack=True):
            if b"ranges" in (body or b""):
                break
            before += 1
    assert before <= AHEAD
    assert waiting >= FLOOD - AT_A_TIME, "the worker takes more than it can answer soon"


def test_expired_questions_are_dropped(fleet: Fleet) -> None:
    """Nobody is there any more who would read the answer."""
    fleet.start()
    with ForeignClient(fleet.amqp_url) as caller:
        caller.publish("id.health", b"{}", reply_to="nowhere", expiration="0")
        answer = caller.call("id.health", b"{}", timeout=30)
        assert answer is not None
        answer = caller.call("id.health", b"{}", timeout=30)  # the one before is counted by now
        assert answer is not None
        counters = json.loads(answer[0])["counters"]
    assert counters["expired"] == 1
    assert counters["answered"] == 1
