"""How a request ends at the responder: passed on, handed back, or told."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from idalloc_schemas import ALLOC_QUEUE
from idalloc_worker.counters._counters import Counters
from idalloc_worker.counters._registry import Outcome
from idalloc_worker.counters._user_counts import NOBODY
from idalloc_worker.engine._effects import REDIRECTED
from idalloc_worker.engine._refusals import SHUTTING_DOWN, busy, over_share
from idalloc_worker.requests._reply_address import ReplyAddresses
from idalloc_worker.requests._responder import Responder
from idalloc_worker.requests._sample import SHOWN
from idalloc_worker.requests._session import Delivery
from tests.runtimes import runtime


class Bench:
    """A responder, and what becomes of requests there; it is their session too."""

    def __init__(self) -> None:
        self.now = 100.0
        self.usable = True
        self.ends: list[str] = []
        self.addresses = ReplyAddresses(None)
        self.counters = Counters()
        side: Any = None  # nothing here is suspected
        self.responder = Responder(
            runtime(counters=self.counters, clock=lambda: self.now),
            side,
            lambda _delivery, _to: self.ends.append("passed on"),
        )

    @property
    def outcomes(self) -> dict[Outcome, int]:
        return +Counter(self.counters.outcomes[ALLOC_QUEUE])

    def delivery(self, *, redelivered: bool = False) -> Delivery:
        session: Any = self
        return Delivery(session, 1, ALLOC_QUEUE, b"caller", b"1", redelivered)

    def hand_back(self, _delivery: Delivery) -> None:
        self.ends.append("handed back")

    def finish(self, _delivery: Delivery) -> None:
        self.ends.append("dropped")

    def dead_letter(self, _delivery: Delivery) -> None:
        self.ends.append("dead-lettered")

    def reply(self, _delivery: Delivery, _body: bytes, _message_type: str) -> None:
        self.ends.append("told")


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_tag_that_proves_ordered_is_for_its_owner(bench: Bench) -> None:
    """The caller is not told of it: the request is passed on."""
    bench.responder.answer(bench.delivery(), REDIRECTED)
    assert bench.ends == ["passed on"]


def test_a_request_is_handed_back_as_often_as_workers_stop(bench: Bench) -> None:
    """Its caller has time left, and knows nothing of rolling restarts."""
    bench.responder.answer(bench.delivery(), SHUTTING_DOWN)
    bench.responder.answer(bench.delivery(redelivered=True), SHUTTING_DOWN)
    assert bench.ends == ["handed back", "handed back"]


def test_a_user_beyond_its_share_is_counted_apart(bench: Bench) -> None:
    """It is no trouble of the fleet's, so that nobody is woken for it."""
    bench.responder.refuse(bench.delivery(), busy("no place for anybody", 0.1))
    assert (bench.outcomes, bench.counters.limited.by_user()) == ({"busy": 1}, {})
    bench.responder.refuse(bench.delivery(), over_share("this user has had its share", 0.1))
    assert bench.outcomes == {"busy": 1, "limited": 1}
    assert bench.counters.limited.by_user() == {NOBODY: 1}


def test_an_answer_about_health_that_comes_too_late_is_dropped(bench: Bench) -> None:
    """It is made some time after it was asked for, and nobody waits for it any more."""
    delivery = bench.delivery()
    delivery.deadline = bench.now + 1
    bench.responder.report(delivery, b"{}")
    bench.now += 1
    bench.responder.report(delivery, b"{}")
    assert bench.ends == ["told", "dropped"]


def test_what_may_have_aged_unseen_is_handed_back(bench: Bench) -> None:
    """After a stall a deadline counts from too late; the broker knows better, and is asked once."""
    bench.responder.stalls.beat(bench.now)
    bench.now += 10
    assert bench.responder.stalls.may_be_dead(bench.now + 5, bench.now)
    assert not bench.responder.stalls.may_be_dead(bench.now + 50, bench.now)
    assert bench.responder.doubts(bench.delivery())
    assert bench.ends == ["handed back"]
    assert not bench.responder.doubts(bench.delivery(redelivered=True))
    assert bench.ends == ["handed back"]


def test_of_a_flood_that_cannot_be_answered_some_is_kept_to_look_at(bench: Bench) -> None:
    """The broker has more to do with a dead letter than with all else of a request."""
    for _ in range(3 * SHOWN):
        bench.responder.dead_letter(bench.delivery(), bench.now)
    assert Counter(bench.ends) == {"dead-lettered": SHOWN, "dropped": 2 * SHOWN}
    bench.responder.dead_letter(bench.delivery(), bench.now + 1)
    assert bench.ends[-1] == "dead-lettered"


class FakeTrace:
    """Notes how a request ended."""

    traceparent = b""

    def __init__(self) -> None:
        self.outcomes: list[str] = []

    def waits(self, *, ordered: bool) -> None:
        """Nothing waits here."""

    def end(self, outcome: str) -> None:
        self.outcomes.append(outcome)


@pytest.mark.parametrize(
    ("end", "outcome"),
    [
        (lambda to, one: to.answer(one, ((1, 2),)), "granted"),
        (lambda to, one: to.answer(one, SHUTTING_DOWN), "handed_back"),
        (lambda to, one: to.answer(one, busy("no place", 0.1)), "busy"),
        (lambda to, one: to.refuse(one, over_share("enough", 0.1)), "limited"),
        (lambda to, one: to.expire(one), "expired"),
        (lambda to, one: to.doubts(one), "doubted"),
        (lambda to, one: to.dead_letter(one, 100.0), "dead_lettered"),
    ],
)
def test_whoever_follows_a_request_hears_how_it_ended(
    bench: Bench, end: Callable[[Responder, Delivery], None], outcome: str
) -> None:
    """By the word that counts it, whatever the end is."""
    delivery, trace = bench.delivery(), FakeTrace()
    delivery.trace = trace
    end(bench.responder, delivery)
    assert trace.outcomes == [outcome]
    assert bench.outcomes == {outcome: 1}


def test_a_request_that_is_passed_on_has_not_ended(bench: Bench) -> None:
    """Its owner's queue has to take it first."""
    delivery, trace = bench.delivery(), FakeTrace()
    delivery.trace = trace
    bench.responder.answer(delivery, REDIRECTED)
    assert not trace.outcomes
