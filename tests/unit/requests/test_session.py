"""A request's end on its channel: the reply first, then the acknowledgement, once."""

from collections.abc import Callable
from typing import Any

import pytest

from idalloc_client.amqp._io._frames import Envelope
from idalloc_schemas import ALLOC_QUEUE, HEALTH_QUEUE
from idalloc_worker.requests._session import Delivery, Session
from idalloc_worker.tags._partitions import QUEUES
from tests.vouched import logged_in


class FakeMessageChannel:
    """The channel too; a turn of the loop ends with `end_turn`."""

    def __init__(self) -> None:
        self.pika_channel = self
        self.is_open = True
        self.server_properties: dict[str, Any] = {}
        self.sent: list[tuple[Any, ...]] = []
        self.soon: list[Callable[[], None]] = []

    def reply(
        self, reply_to: bytes, _envelope: Envelope, _correlation_id: bytes | None, _body: bytes
    ) -> None:
        self.sent.append(("reply", reply_to))

    def ack(self, tag: int, *, multiple: bool) -> None:
        self.sent.append(("ack", tag, multiple))

    def basic_reject(self, tag: int, requeue: bool) -> None:  # noqa: FBT001  # as pika's
        self.sent.append(("reject", tag, requeue))

    def end_turn(self) -> None:
        while self.soon:
            self.soon.pop(0)()


@pytest.fixture
def channel() -> FakeMessageChannel:
    return FakeMessageChannel()


@pytest.fixture
def session(channel: FakeMessageChannel) -> Session:
    shown: Any = channel
    return Session(shown, "w", channel.soon.append, lambda _since: None, users=logged_in())


def delivered(session: Session, tag: int, reply_to: bytes | None = b"caller") -> Delivery:
    return Delivery(session, tag, ALLOC_QUEUE, reply_to, b"1", redelivered=False)


def test_the_reply_leaves_before_the_acknowledgement(
    channel: FakeMessageChannel, session: Session
) -> None:
    """Whoever dies between the two has the request delivered again, and never lost."""
    session.reply(delivered(session, 1), b"{}", "type")
    assert channel.sent == [("reply", b"caller")]
    channel.end_turn()
    assert channel.sent == [("reply", b"caller"), ("ack", 1, False)]


def test_a_request_ends_once(channel: FakeMessageChannel, session: Session) -> None:
    """Answered, it is neither answered again nor handed back."""
    delivery = delivered(session, 1)
    session.reply(delivery, b"{}", "type")
    session.reply(delivery, b"{}", "type")
    session.finish(delivery)
    session.hand_back(delivery)
    channel.end_turn()
    assert channel.sent == [("reply", b"caller"), ("ack", 1, False)]


def test_a_closed_channel_is_left_alone(channel: FakeMessageChannel, session: Session) -> None:
    """Its delivery tags would mean other messages on the next one."""
    delivery = delivered(session, 1)
    channel.is_open = False
    session.reply(delivery, b"{}", "type")
    session.hand_back(delivery)
    session.finish(delivery)
    channel.end_turn()
    assert channel.sent == []


@pytest.mark.parametrize(
    "queue", [None, "", "amq.rabbitmq.reply-to", ALLOC_QUEUE, HEALTH_QUEUE, *QUEUES]
)
def test_an_address_that_would_be_a_loop_is_none(session: Session, queue: str | None) -> None:
    """A reply into one of our own queues would come back as a request."""
    assert not delivered(session, 1, None if queue is None else queue.encode()).answerable
    assert delivered(session, 2, b"amq.rabbitmq.reply-to.abc").answerable
