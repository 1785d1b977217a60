"""The acknowledgements of a channel against a model of the broker."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idalloc_worker.requests._acks import HELD_FOR, Acknowledgements, Holding


def acknowledgements() -> Acknowledgements:
    wire: Any = None  # nothing is sent: what is due is taken
    return Acknowledgements(wire, lambda _flush: None, lambda _since: None)


class Broker:
    """Unacknowledged deliveries as RabbitMQ keeps them; an unknown tag closes the channel."""

    def __init__(self) -> None:
        self.open: set[int] = set()
        self.is_open = True
        self.frames = 0

    def ack(self, tag: int, *, multiple: bool) -> set[int]:
        assert self.is_open
        assert tag in self.open, "PRECONDITION_FAILED - unknown delivery tag"
        self.frames += 1
        settled = {other for other in self.open if other <= tag} if multiple else {tag}
        self.open -= settled
        return settled


class Loop:
    """The worker's loop, with a channel whose acknowledgements may be held back."""

    def __init__(self, most: int) -> None:
        self.broker = Broker()
        self.timers: list[Callable[[], None]] = []
        self.replied: list[list[float]] = []
        self._soon: list[Callable[[], None]] = []
        channel: Any = self.broker
        holding = Holding(most, self._call_later)
        self.acks = Acknowledgements(channel, self._soon.append, self.replied.append, holding)
        self.last = 0

    def _call_later(self, delay: float, callback: Callable[[], None]) -> None:
        assert delay == HELD_FOR
        self.timers.append(callback)

    def deliver(self) -> int:
        self.last += 1
        self.broker.open.add(self.last)
        return self.last

    def end_turn(self) -> None:
        while self._soon:
            self._soon.pop(0)()

    def answer(self, number: int) -> None:
        """Deliver and answer requests, each in a turn of its own."""
        for _ in range(number):
            self.acks.done(self.deliver())
            self.end_turn()

    def pass_time(self) -> None:
        timers, self.timers = self.timers, []
        for callback in timers:
            callback()


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


def test_lone_requests_share_an_acknowledgement() -> None:
    """On a quorum queue each is written to disk, and the next request waits for that."""
    loop = Loop(most=64)
    loop.answer(10)
    assert loop.broker.frames == 0
    loop.pass_time()
    assert (loop.broker.frames, loop.broker.open, loop.timers) == (1, set(), [])
    loop.answer(1)
    loop.pass_time()
    assert loop.broker.open == set()


def test_so_many_answers_are_acknowledged_at_once() -> None:
    """All in the turn of the last one, so that a worker that dies leaves few behind."""
    loop = Loop(most=4)
    loop.answer(3)
    assert len(loop.broker.open) == 3
    loop.answer(1)
    assert (loop.broker.frames, loop.broker.open) == (1, set())


def test_what_waits_keeps_nothing_else_from_being_acknowledged() -> None:
    """Answers behind a request that waits are acknowledged one by one."""
    loop = Loop(most=64)
    waits = loop.deliver()
    loop.answer(3)
    loop.pass_time()
    assert loop.broker.open == {waits}


def test_a_worker_that_stops_holds_nothing_back() -> None:
    """Nor what is answered after the rest."""
    loop = Loop(most=64)
    loop.answer(3)
    loop.acks.flush()
    assert loop.broker.open == set()
    loop.answer(1)
    assert loop.broker.open == set()


def test_nothing_is_acknowledged_on_a_channel_that_has_ended() -> None:
    """Its tags would mean other messages on the next one."""
    loop = Loop(most=64)
    loop.answer(3)
    loop.broker.is_open = False
    loop.pass_time()
    loop.acks.flush()
    assert len(loop.broker.open) == 3


def test_replies_are_told_of_in_their_turn() -> None:
    """How long they took has nothing to do with when they are acknowledged."""
    loop = Loop(most=64)
    loop.acks.replied.append(0.5)
    loop.answer(1)
    assert loop.replied == [[0.5]]
    loop.broker.is_open = False  # what was written then has not left
    loop.acks.replied.append(0.7)
    loop.acks.flush_soon()
    loop.end_turn()
    assert loop.replied == [[0.5]]


@pytest.mark.parametrize(("prefetch", "most"), [(1, 1), (15, 1), (80, 10), (2666, 64)])
def test_places_for_requests_are_left(prefetch: int, most: int) -> None:
    """However few a worker takes at a time: it never waits for its own acknowledgements."""
    assert Holding.within(prefetch, lambda *_: None).most == most


@given(
    st.integers(1, 5),
    st.lists(
        st.tuples(
            st.sampled_from(["deliver", "done", "reject", "end turn", "pass time"]), st.integers()
        )
    ),
)
def test_few_are_held_back_and_for_a_time(most: int, steps: list[tuple[str, int]]) -> None:
    """At the end of a turn fewer than so many; none once the time is over; and no other ones."""
    loop = Loop(most)
    unfinished: set[int] = set()
    for step, pick in [*steps, ("end turn", 0), ("pass time", 0)]:
        if step == "deliver":
            unfinished.add(loop.deliver())
        elif step == "end turn":
            loop.end_turn()
            assert len(loop.broker.open - unfinished) < most
            assert loop.timers or loop.broker.open == unfinished
        elif step == "pass time":
            loop.end_turn()
            loop.pass_time()
            assert loop.broker.open == unfinished
        elif unfinished:
            tag = sorted(unfinished)[pick % len(unfinished)]
            unfinished.discard(tag)
            if step == "done":
                loop.acks.done(tag)
            else:
                loop.broker.open.discard(tag)
                loop.acks.rejected(tag)
    assert len(loop.timers) <= 1
