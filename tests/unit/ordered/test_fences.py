"""An owner of a quorum queue notices that others had their turn, before it answers anything."""

from collections.abc import Callable
from typing import Any

import pytest

from idalloc_client.amqp._io._frames import Properties
from idalloc_worker.ordered._fences import (
    AGAIN,
    FENCE_TYPE,
    MOST_SENT,
    MOST_WAITING,
    RENEWED,
    Fences,
)
from idalloc_worker.requests._session import Delivery
from tests.vouched import logged_in

QUEUE = "id.ordered.3"
WORKER = b"idalloc-worker"
BUNDLE = Properties(user_id=WORKER, expiration=b"5000")


class Bench:
    """The fences of one generation; the session is this object, too."""

    is_open = True

    def __init__(self) -> None:
        self.now = 100.0
        self.later: list[tuple[float, Callable[[], None]]] = []
        self.sent: list[tuple[bytes, Properties, bytes]] = []
        self.handled: list[tuple[int, bytes | None]] = []
        self.finished: list[int] = []
        self.passed_over = 0
        self.fences = Fences(
            self,
            lambda delay, callback: self.later.append((delay, callback)),
            lambda: self.now,
            users=logged_in(),
            handle=lambda delivery, properties, _body: self.handled.append(
                (delivery.tag, properties.expiration)
            ),
            on_over=self._on_over,
        )

    def _on_over(self, _reason: str) -> None:
        self.passed_over += 1

    def publish(self, routing_key: bytes, properties: Properties, body: bytes) -> None:
        self.sent.append((routing_key, properties, body))

    def finish(self, delivery: Delivery) -> None:
        self.finished.append(delivery.tag)

    def deliver(
        self,
        tag: int,
        properties: Properties = BUNDLE,
        body: bytes = b"",
        *,
        redelivered: bool = False,
    ) -> bool:
        session: Any = self
        user = properties.user_id
        delivery = Delivery(session, tag, QUEUE, None, None, redelivered, user=user)
        return self.fences.admits(delivery, properties, body)

    def come_back(self, tag: int, *, redelivered: bool = False) -> bool:
        """Have the fence come that was sent last."""
        _, properties, body = self.sent[-1]
        return self.deliver(tag, properties, body, redelivered=redelivered)

    def run(self, delay: float) -> None:
        """Run the timers that were set with this delay."""
        due = [callback for given, callback in self.later if given == delay]
        self.later = [timer for timer in self.later if timer[0] != delay]
        for callback in due:
            callback()

    def own(self) -> None:
        """Become an owner."""
        assert not self.deliver(1)
        assert not self.come_back(2)


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def owner(bench: Bench) -> Bench:
    bench.own()
    return bench


FOREIGN = Properties(type=FENCE_TYPE, user_id=WORKER)


def test_nothing_is_answered_before_the_fence_is_there(bench: Bench) -> None:
    """Not what came back from the owner before, either; its deadlines go on meanwhile."""
    assert not bench.deliver(1, redelivered=True)
    assert not bench.deliver(2)
    assert [key for key, _, _ in bench.sent] == [QUEUE.encode()]
    bench.now += 2.0
    assert (bench.handled, bench.passed_over) == ([], 0)
    assert not bench.come_back(3)
    assert bench.handled == [(1, b"3000"), (2, b"3000")]
    assert bench.deliver(4)
    assert bench.finished == []  # it is kept


@pytest.mark.parametrize("what", ["bundle", "own fence", "fence of another one"])
def test_what_was_with_another_owner_shows(owner: Bench, what: str) -> None:
    """It is not answered, since lower ids than the other one's might go out."""
    match what:
        case "bundle":
            assert not owner.deliver(3, redelivered=True)
        case "own fence":
            assert not owner.come_back(3, redelivered=True)
        case _:
            assert not owner.deliver(3, FOREIGN, b"other")
    assert owner.passed_over == 1


def test_a_fence_of_the_owner_before_is_kept_until_there_is_one_of_its_own(bench: Bench) -> None:
    """Whoever comes next would otherwise hear nothing of either."""
    assert not bench.deliver(1, FOREIGN, b"other", redelivered=True)
    assert bench.finished == []
    assert not bench.come_back(2)
    assert (bench.finished, bench.passed_over) == ([1], 0)


def test_a_fence_is_renewed_and_the_old_one_kept_until_then(owner: Bench) -> None:
    """Or it would be as old as the queue lets messages become, or the broker an owner be silent."""
    owner.run(AGAIN)
    owner.come_back(3)
    owner.run(RENEWED)
    assert owner.finished == [2]
    assert len(owner.sent) == 3
    owner.come_back(4)
    assert owner.finished == [2, 3]
    assert owner.passed_over == 0


def test_a_fence_that_does_not_come_is_sent_again(bench: Bench) -> None:
    """The queue was full. Not on a channel that is gone."""
    bench.deliver(1)
    bench.run(AGAIN)
    assert len(bench.sent) == 2
    bench.is_open = False
    bench.run(AGAIN)
    assert (len(bench.sent), bench.later) == (2, [])


def test_another_channel_is_tried_where_a_fence_never_comes(bench: Bench) -> None:
    """RabbitMQ 3.10 may lose all that a channel sends to a quorum queue, and say nothing."""
    bench.deliver(1)
    for _ in range(MOST_SENT):
        assert bench.passed_over == 0
        bench.run(AGAIN)
    assert (bench.passed_over, len(bench.sent), bench.later) == (1, MOST_SENT, [])


def test_a_backlog_does_not_keep_the_fence_out(bench: Bench) -> None:
    """The broker sends no more than the prefetch: what is too much goes behind the fence."""
    for tag in range(1, MOST_WAITING + 2):
        bench.deliver(tag)
    assert bench.finished == [MOST_WAITING + 1]
    key, copy, _ = bench.sent[-1]
    assert (key, copy.expiration, copy.user_id) == (QUEUE.encode(), b"5000", WORKER)


def test_what_no_worker_sent_is_no_fence(bench: Bench) -> None:
    """Anybody may write to the queue. It is put away as other such messages are."""
    forged = Properties(type=FENCE_TYPE, user_id=b"mallory")
    assert bench.deliver(1, forged, redelivered=True)
    bench.own()
    assert bench.deliver(3, forged)
    assert bench.passed_over == 0


def test_a_callers_request_is_the_owners_only_behind_the_fence(bench: Bench) -> None:
    """And not if it was with somebody before: what is held may be lower than what that one gave."""
    session: Any = bench

    def admits(*, redelivered: bool = False) -> bool:
        delivery = Delivery(session, 9, QUEUE, None, None, redelivered, user=b"alice")
        return bench.fences.admits_direct(delivery)

    assert not admits()
    assert [key for key, _, _ in bench.sent] == [QUEUE.encode()], "it asks for its fence"
    assert not bench.come_back(2)
    assert admits()
    assert not admits(redelivered=True)
    assert bench.passed_over == 0
