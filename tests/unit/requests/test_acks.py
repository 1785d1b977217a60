"""The acknowledgements of a channel against a model of the broker."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from idalloc_worker.requests._acks import Acknowledgements


def acknowledgements() -> Acknowledgements:
    wire: Any = None  # nothing is sent: what is due is taken
    return Acknowledgements(wire, lambda _flush: None, lambda _since: None)


class Broker:
    """Unacknowledged deliveries as RabbitMQ keeps them; an unknown tag closes the channel."""

    def __init__(self) -> None:
        self.open: set[int] = set()

    def ack(self, tag: int, *, multiple: bool) -> set[int]:
        assert tag in self.open, "PRECONDITION_FAILED - unknown delivery tag"
        settled = {other for other in self.open if other <= tag} if multiple else {tag}
        self.open -= settled
        return settled


@given(st.lists(st.tuples(st.sampled_from(["deliver", "done", "reject", "flush"]), st.integers())))
def test_acknowledges_exactly_what_was_answered(steps: list[tuple[str, int]]) -> None:
    """Whatever the order, a flush settles all answered deliveries and no other one."""
    tracker, broker = acknowledgements(), Broker()
    unfinished: list[int] = []
    answered: set[int] = set()
    delivered = 0
    for step, pick in [*steps, ("flush", 0)]:
        if step == "deliver":
            delivered += 1
            unfinished.append(delivered)
            broker.open.add(delivered)
        elif step == "flush":
            settled: set[int] = set()
            for tag, multiple in tracker.take():
                settled |= broker.ack(tag, multiple=multiple)
            assert settled == answered
            answered = set()
        elif unfinished:
            tag = unfinished.pop(pick % len(unfinished))
            if step == "done":
                tracker.done(tag)
                answered.add(tag)
            else:
                broker.open.discard(tag)
                tracker.rejected(tag)
    assert not tracker._ended.intersection(unfinished)
    assert len(tracker._ended) <= delivered - min(unfinished, default=delivered)


def test_many_answers_cost_one_frame() -> None:
    """Deliveries that are answered in order are acknowledged together."""
    tracker = acknowledgements()
    for tag in range(1, 101):
        tracker.done(tag)
    assert tracker.take() == [(100, True)]
    assert tracker.take() == []


def test_a_gap_is_not_acknowledged() -> None:
    """A delivery that still waits is not swept up by those behind it."""
    tracker = acknowledgements()
    for tag in (1, 2, 4):
        tracker.done(tag)
    assert tracker.take() == [(2, True), (4, False)]
    tracker.done(3)
    assert tracker.take() == [(3, False)]
