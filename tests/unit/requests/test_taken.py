"""Requests that were taken off their queue: answered once, put away as a copy, not acknowledged."""

import pytest

from idalloc_client.amqp._io._frames import Properties
from idalloc_schemas import ALLOC_QUEUE
from idalloc_worker.requests._taken import TakenSession, as_copy
from tests.unit.requests.test_session import FakeMessageChannel
from tests.vouched import logged_in


class MessageChannel(FakeMessageChannel):
    """Notes what is published as well."""

    def publish(self, routing_key: bytes, properties: Properties, body: bytes) -> None:
        self.sent.append(("publish", routing_key, properties, body))


SENT = Properties(reply_to=b"caller", correlation_id=b"1", user_id=b"shop", expiration=b"500")


@pytest.fixture
def channel() -> MessageChannel:
    return MessageChannel()


@pytest.fixture
def session(channel: MessageChannel) -> TakenSession:
    return TakenSession(channel, "w", channel.soon.append, lambda _since: None, users=logged_in())  # type: ignore[arg-type]


def test_it_is_answered_and_not_acknowledged(
    channel: MessageChannel, session: TakenSession
) -> None:
    """The broker closes the channel over a tag that it does not know."""
    request = session.take(ALLOC_QUEUE, SENT, b"{}")
    assert (request.user_name, request.returnable) == ("shop", False)
    session.reply(request, b"{}", "type")
    session.reply(request, b"{}", "type")
    channel.end_turn()
    assert channel.sent == [("reply", b"caller")]


def test_it_is_put_away_as_a_copy(channel: MessageChannel, session: TakenSession) -> None:
    """Where dead letters go, once."""
    request = session.take(ALLOC_QUEUE, SENT, b"{}")
    session.dead_letter(request)
    session.dead_letter(request)
    session.hand_back(request)
    channel.end_turn()
    copy = Properties(correlation_id=b"1", expiration=b"500")
    assert channel.sent == [("publish", b"id.dead", copy, b"{}")]


@pytest.mark.parametrize("expiration", [b"soon", b"-1", b"9" * 10, b"", b"\xb2"])
def test_a_copy_closes_no_channel(expiration: bytes) -> None:
    """Over AMQP 1.0 anything may come: RabbitMQ refuses some of it from us."""
    sent = Properties(expiration=expiration, reply_to=b"amq.rabbitmq.reply-to", user_id=b"shop")
    assert as_copy(sent, b"w") == Properties(user_id=b"w")


@pytest.mark.parametrize(("expiration", "left"), [(b"800", b"300"), (b"100", b"0")])
def test_a_copy_is_valid_no_longer_than_the_message(expiration: bytes, left: bytes) -> None:
    """However often it is put back: the broker counts from its arrival."""
    assert as_copy(Properties(expiration=expiration), aged=0.5) == Properties(expiration=left)
