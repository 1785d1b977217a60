"""Replies that another caller wrote, and names that are not the sender's."""

import json
from collections.abc import Iterator
from contextlib import closing

import pika
import pika.exceptions
import pytest

from devstack.attacks.floods import ALLOC, HEALTH
from devstack.attacks.honest import ORDERED_TAG, PLAIN_TAG
from devstack.attacks.rights import INTRUDER, WORKER, ShippedBroker
from devstack.workers import blocking_connection
from tests.attacks.conftest import GetSite
from tests.foreign import ForeignClient

PATIENCE = 20.0
FORGED = b'{"resp_code":0,"msg":"success","id":1,"ranges":[[1,2]]}'

QUESTIONS = [
    (ALLOC, {"app_tag": PLAIN_TAG}),
    (ALLOC, {"app_tag": ORDERED_TAG}),
    (ALLOC, {"app_tag": "nobody"}),
    (ALLOC, {}),
    (HEALTH, {"app_tag": PLAIN_TAG}),
    (HEALTH, {"fleet": True}),
]


@pytest.fixture
def broker(get_site: GetSite) -> ShippedBroker:
    return get_site().broker


@pytest.fixture
def reply_queue(broker: ShippedBroker) -> Iterator[tuple[pika.BlockingConnection, str]]:
    """Give a queue of a service that does without direct reply-to, and whose name is known."""
    with blocking_connection(broker.amqp_url) as connection:
        queue = connection.channel().queue_declare("", exclusive=True).method.queue
        yield connection, str(queue)


def _forge(broker: ShippedBroker, queue: str, **properties: str) -> None:
    forged = pika.BasicProperties(
        correlation_id="7", type="id.alloc.reply", app_id="idalloc worker", **properties
    )
    with closing(pika.BlockingConnection(pika.URLParameters(broker.users[INTRUDER]))) as intruder:
        channel = intruder.channel()
        channel.confirm_delivery()
        channel.basic_publish("", queue, FORGED, forged)


@pytest.mark.parametrize(("queue", "question"), QUESTIONS)
def test_a_reply_names_its_sender(
    broker: ShippedBroker, queue: str, question: dict[str, object]
) -> None:
    """RabbitMQ vouches for the user of whoever wrote it, whatever it answers."""
    with ForeignClient(broker.users[INTRUDER]) as caller:
        answer = caller.call(queue, json.dumps(question).encode(), timeout=PATIENCE)
    assert answer is not None
    assert answer[1].user_id == broker.user_name(WORKER)


def test_a_forged_reply_is_told_apart(
    broker: ShippedBroker, reply_queue: tuple[pika.BlockingConnection, str]
) -> None:
    """In a named queue the workers' replies alone carry the workers' user."""
    connection, queue = reply_queue
    _forge(broker, queue)
    _forge(broker, queue, user_id=broker.user_name(INTRUDER))
    channel = connection.channel()
    properties = pika.BasicProperties(reply_to=queue, correlation_id="7")
    channel.basic_publish("", ALLOC, b'{"app_tag":"%s"}' % PLAIN_TAG.encode(), properties)
    senders = []
    for _method, got, _body in channel.consume(queue, inactivity_timeout=PATIENCE):
        assert got is not None, "the worker did not answer"
        senders.append(got.user_id)
        if len(senders) == 3:
            break
    genuine = [sender for sender in senders if sender == broker.user_name(WORKER)]
    assert len(genuine) == 1


def test_nobody_speaks_as_a_worker(
    broker: ShippedBroker, reply_queue: tuple[pika.BlockingConnection, str]
) -> None:
    """RabbitMQ refuses a message whose user is not the one who is logged in."""
    _connection, queue = reply_queue
    with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="PRECONDITION_FAILED"):
        _forge(broker, queue, user_id=broker.user_name(WORKER))
