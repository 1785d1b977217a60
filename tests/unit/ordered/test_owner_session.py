"""A bundle is acknowledged with its last request, or handed back as a whole."""

from collections.abc import Callable
from typing import Any

import pytest

from idalloc_client.amqp._io._frames import Envelope
from idalloc_schemas import AllocRequest
from idalloc_worker.ordered._bundles import OrderedRequest
from idalloc_worker.ordered._owner_session import BundledRequest, OwnerSession
from idalloc_worker.requests._session import Delivery
from tests.vouched import logged_in


class FakeMessageChannel:
    """The channel too."""

    is_open = True

    def __init__(self) -> None:
        self.pika_channel = self
        self.sent: list[tuple[Any, ...]] = []

    def reply(
        self, reply_to: bytes, _envelope: Envelope, _correlation_id: bytes | None, body: bytes
    ) -> None:
        self.sent.append(("reply", reply_to, body))

    def ack(self, tag: int, *, multiple: bool) -> None:
        self.sent.append(("ack", tag, multiple))

    def basic_reject(self, tag: int, requeue: bool) -> None:  # noqa: FBT001  # as pika's
        self.sent.append(("reject", tag, requeue))


class Bench:
    def __init__(self) -> None:
        self.channel = FakeMessageChannel()
        self._soon: list[Callable[[], None]] = []
        channel: Any = self.channel
        self.session = OwnerSession(
            channel, "worker", self._soon.append, lambda _since: None, users=logged_in()
        )

    def deliver(self, tag: int, size: int, *, redelivered: bool = False) -> list[BundledRequest]:
        """Unpack a bundle; it is a message like any other until then."""
        bundle = Delivery(self.session, tag, "id.ordered.0", None, None, redelivered)
        wanted = AllocRequest(app_tag="order")
        requests = [OrderedRequest(wanted, b"r%d" % n, b"c%d" % n, None) for n in range(size)]
        return self.session.unpack(bundle, requests)

    def turn(self) -> list[tuple[Any, ...]]:
        while self._soon:
            self._soon.pop(0)()
        sent, self.channel.sent = self.channel.sent, []
        return list(sent)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_bundle_is_acknowledged_with_its_last_request(bench: Bench) -> None:
    """Until then a crash has the broker deliver it again."""
    first, second, third = bench.deliver(1, 3)
    bench.session.reply(first, b"1", "t")
    bench.session.finish(second)
    assert bench.turn() == [("reply", b"r0", b"1")]
    bench.session.reply(third, b"3", "t")
    assert bench.turn() == [("reply", b"r2", b"3"), ("ack", 1, False)]


def test_a_request_counts_once(bench: Bench) -> None:
    """Finishing one twice does not stand for another."""
    first, _second = bench.deliver(1, 2)
    bench.session.finish(first)
    bench.session.finish(first)
    assert bench.turn() == []


def test_a_bundle_is_handed_back_as_a_whole(bench: Bench) -> None:
    """The other requests of it are not answered any more: the next owner does that."""
    first, second = bench.deliver(1, 2)
    assert first.returnable
    bench.session.hand_back(first)
    bench.session.hand_back(second)
    bench.session.reply(second, b"x", "t")
    assert bench.turn() == [("reject", 1, True)]


def test_what_was_answered_in_part_is_not_handed_back(bench: Bench) -> None:
    """Its callers are told to retry instead. What only came back before is."""
    first, second = bench.deliver(1, 2)
    bench.session.reply(first, b"1", "t")
    assert not second.returnable
    assert bench.deliver(2, 1, redelivered=True)[0].returnable


def test_what_is_left_goes_back_with_the_channel(bench: Bench) -> None:
    """Handed back before, it would come to the worker that is about to leave."""
    (request,) = bench.deliver(1, 1)
    bench.session.leaving = True
    bench.session.hand_back(request)
    bench.session.reply(request, b"1", "t")
    assert bench.turn() == []


def test_a_callers_request_is_finished_by_itself(bench: Bench) -> None:
    """It is acknowledged, or handed back, unless its channel is about to be given up."""
    message = Delivery(bench.session, 1, "id.ordered.0", b"q", b"c", redelivered=False, user=b"u")
    request = bench.session.direct(message)
    assert request.owner_queue is None
    request.drawn = True
    assert request.owner_queue == "id.ordered.0"
    bench.session.reply(request, b"1", "t")
    assert bench.turn() == [("reply", b"q", b"1"), ("ack", 1, False)]
    for leaving, sent in ((False, [("reject", 2, True)]), (True, [])):
        bench.session.leaving = leaving
        again = Delivery(bench.session, 2, "id.ordered.0", None, None, redelivered=False)
        bench.session.hand_back(bench.session.direct(again))
        assert bench.turn() == sent
