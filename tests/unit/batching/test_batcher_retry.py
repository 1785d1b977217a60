"""Callers who are asked for again, since their refusal can pass; the clock is the test's."""

from concurrent.futures import Future
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idalloc_client import BusyError, CallTimeoutError, IdAllocError, NoAvailableIdError
from idalloc_client._errors import ClientClosedError
from idalloc_client._rpc import RawReply
from tests.unit.batching.test_batcher import World
from tests.unit.batching.test_batcher_busy import count_of

TICK = 0.01
PASSING = [-1, -6, -7]


def refuse_until(world: World, end: float, code: int = -1) -> list[tuple[float, int]]:
    """Have a worker refuse all requests until a time; tell when each came, and for how many."""
    asked = []
    while world.now < end:
        world.turn()
        while world.sent:
            asked.append((world.now, count_of(world)))
            world.refuse(code)
        world.pass_time(TICK)
    return asked


def end_of(call: "Future[Any]", world: World) -> dict[str, Any]:
    """Note when a call ends, and how."""
    seen: dict[str, Any] = {}

    def note(done: "Future[Any]") -> None:
        seen.update(at=world.now, error=done.exception())

    call.add_done_callback(note)
    return seen


@pytest.mark.parametrize("code", PASSING)
def test_what_passes_in_time_is_not_seen(code: int) -> None:
    """A worker without a database for 3 s, a caller with 10: it gets its id, in few requests."""
    world = World()
    call = world.ask(patience=10.0)
    asked = refuse_until(world, 3.0, code)
    assert len(asked) < 8
    assert world.counters.retried == len(asked)
    while not call.done():
        world.turn()
        while world.sent:
            world.answer()
        world.pass_time(TICK)
    assert call.result(0) == 1
    assert world.now < 5.0
    assert not world.counters.failed


@pytest.mark.parametrize("code", PASSING)
@pytest.mark.parametrize("patience", [0.3, 1.0, 5.0, 30.0])
def test_what_lasts_is_told_just_before_the_deadline(code: int, patience: float) -> None:
    """Never after it, at most 0.1 s before; with the last answer as the cause."""
    world = World()
    seen = end_of(world.ask(patience=patience), world)
    asked = refuse_until(world, patience + 1.0, code)
    assert patience - 0.1 <= seen["at"] <= patience
    error = seen["error"]
    assert f"refused {len(asked)} times" in str(error)
    assert type(error.__cause__) is type(error)
    assert sum(at <= 1.0 for at, _ in asked) <= 10
    assert world.batcher.calls == 0


def test_an_answer_that_never_comes_leaves_the_last_one() -> None:
    """The last attempt meets silence: the caller hears what a worker said before."""
    world = World()
    call, silent = world.ask(patience=3.0), world.ask(patience=3.0, tag="b")
    world.turn()
    world.refuse(-1)
    world.pass_time(0.2)
    world.turn()
    assert len(world.sent) == 2  # nobody answers these
    assert isinstance(world.batcher.overdue(call), NoAvailableIdError)
    world.pass_time(3.0)
    error = call.exception(0)
    assert isinstance(error, NoAvailableIdError)
    assert isinstance(error.__cause__, NoAvailableIdError)
    assert isinstance(silent.exception(0), CallTimeoutError)


def test_who_was_refused_together_with_others_hears_that() -> None:
    """Half of them are asked for, and no answer comes: what was said of all is what is known."""
    world = World()
    calls = [world.ask(patience=1.0) for _ in range(8)]
    world.turn()
    world.refuse(-1)
    assert count_of(world) == 4  # nobody answers these
    assert all(isinstance(world.batcher.overdue(call), NoAvailableIdError) for call in calls)
    world.pass_time(1.0)
    assert {str(call.exception(0)) for call in calls} == {"no (app_tag 'a'); refused once"}


@pytest.mark.parametrize("code", [-2, -3, -4, -5, -8])
def test_what_does_not_pass_is_told_at_once(code: int) -> None:
    """To ask again would not help, although the answer names a time."""
    world = World()
    call = world.ask()
    world.turn()
    world.refuse(code)
    error = call.exception(0)
    assert isinstance(error, IdAllocError)
    assert error.__cause__ is None


@pytest.mark.parametrize("code", [-1, -6])
def test_who_is_not_told_when_is_told_at_once(code: int) -> None:
    """Only an operator can help, say."""
    world = World()
    call = world.ask()
    world.turn()
    world.sent.pop().finish(RawReply(b'{"resp_code":%d,"msg":"no"}' % code, "w"))
    assert isinstance(call.exception(0), IdAllocError)


@pytest.mark.parametrize("code", PASSING)
@pytest.mark.parametrize("lease", [False, True])
def test_who_wants_the_first_answer_is_told(code: int, lease: bool) -> None:  # noqa: FBT001
    """A client without `retry`, and leases: their sequence asks again itself."""
    world = World(retry=lease)
    call: Future[Any] = Future()
    world.batcher.add("a", (call, 5, 30.0), 30.0, lease=lease)
    world.turn()
    world.refuse(code)
    error = call.exception(0)
    assert isinstance(error, IdAllocError)
    assert error.__cause__ is None


def test_a_crowd_without_ids_rests_as_one() -> None:
    """Once the least that anybody wants was refused, a crowd is two requests, not many."""
    world = World()
    calls = [world.ask(patience=20.0) for _ in range(500)]
    first = refuse_until(world, 0.1)
    assert len(first) < 30  # to find out that there is not even one
    later = refuse_until(world, 10.0)
    assert len(later) < 60
    assert not any(call.done() for call in calls)
    while not all(call.done() for call in calls):
        world.turn()
        while world.sent:
            world.answer()
        world.pass_time(TICK)
    assert {call.exception(0) for call in calls} == {None}
    assert world.batcher.calls == 0


def test_a_crowd_that_rests_is_served_as_far_as_there_are_ids() -> None:
    """Fewer have come than it wants together: some are served, the others go on resting."""
    world = World()
    calls = [world.ask(patience=20.0) for _ in range(100)]
    refuse_until(world, 2.0)
    left, before = 37, world.requests
    while world.now < 6.0:
        world.turn()
        while world.sent:
            count = count_of(world)
            if count <= left:
                left -= count
                world.answer()
            else:
                world.refuse(-1)
        world.pass_time(TICK)
    assert sum(call.done() for call in calls) == 37
    assert world.requests - before < 37  # not one by one
    assert world.batcher.calls == 63


def test_who_wants_less_is_served_while_others_rest() -> None:
    """What is too much for one does not keep ids from those who want fewer."""
    world = World()
    large, small = world.ask(500, patience=20.0), world.ask(patience=20.0)
    while world.now < 3.0:
        world.turn()
        while world.sent:
            if count_of(world) > 100:
                world.refuse(-1)
            else:
                world.answer()
        world.pass_time(TICK)
    assert small.result(0) == 1
    assert not large.done()


def test_callers_in_a_hurry_do_not_make_others_ask_faster() -> None:
    """A stream of callers near their deadline rests apart from one with time, in its very queue."""
    world = World()
    patient = world.ask(patience=7.9)
    while world.now < 7.0:
        world.ask(patience=4.0)
        refuse_until(world, world.now + 0.1)
    assert world.counters.failed.total() > 20  # from the fourth second on, one each tenth
    assert world.batcher._refused._refusals[patient].times <= 12
    assert not patient.done()


def test_those_who_come_due_together_leave_together() -> None:
    """Callers who came one after the other, and were refused one by one, are gathered."""
    world = World()
    for _ in range(20):
        world.ask(patience=20.0)
        refuse_until(world, world.now + TICK)
    asked = refuse_until(world, world.now + 5.0)
    assert len(asked) < 60  # alone, each of the twenty would ask about seven times


def test_who_rests_counts_and_can_be_ended() -> None:
    """Against the limit of calls; a close tells them."""
    world = World(max_calls=2)
    calls = [world.ask(), world.ask()]
    refuse_until(world, 0.05)
    assert world.batcher.calls == 2
    assert type(world.ask().exception(0)).__name__ == "TooManyCallsError"
    assert sorted(id(promise) for promise, _, _ in world.batcher.waiters()) == sorted(
        map(id, calls)
    )
    world.batcher.close(ClientClosedError("closed"))
    assert all(isinstance(call.exception(0), ClientClosedError) for call in calls)
    world.pass_time(1.0)
    world.turn()
    assert (world.sent, world.batcher.calls) == ([], 0)


def test_who_leaves_while_it_rests_is_not_asked_for() -> None:
    """Its place is free when its pause is over."""
    world = World()
    call = world.ask()
    refuse_until(world, 0.05)
    call.cancel()
    assert refuse_until(world, 3.0) == []
    assert world.batcher.calls == 0
    assert world.counters.abandoned == 1


def test_nothing_is_kept_of_callers_who_ended() -> None:
    """What they were answered goes with them."""
    world = World()
    calls = [world.ask(patience=1.0) for _ in range(10)]
    refuse_until(world, 2.0)
    assert all(call.done() for call in calls)
    del calls
    assert len(world.batcher._refused._refusals) == 0


def test_a_large_call_over_its_share_rests() -> None:
    """Nobody can ask for fewer in its place, but the worker says when it may have so many."""
    world = World()
    call = world.ask(500)
    refuse_until(world, 0.3, -6)
    assert not call.done()
    refuse_until(world, 6.0, -6)
    assert isinstance(call.exception(0), BusyError)


@given(
    st.lists(
        st.tuples(st.sampled_from([0.2, 1.0, 3.0, 9.0]), st.sampled_from([None, 3, 200])),
        min_size=1,
        max_size=30,
    ),
    st.sampled_from(PASSING),
)
def test_every_refused_call_ends_in_its_last_tenth(
    asked: list[tuple[float, int | None]], code: int
) -> None:
    """Whoever they travel with, and whatever they want."""
    world = World()
    ends = [(patience, end_of(world.ask(count, patience), world)) for patience, count in asked]
    refuse_until(world, 10.0, code)
    for patience, seen in ends:
        assert patience - 0.1 <= seen["at"] <= patience
    assert world.batcher.calls == 0
    assert world.counters.failed.total() == len(asked)
