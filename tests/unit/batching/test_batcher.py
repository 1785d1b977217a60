"""Calls that travel together, against a worker that hands out the next ids of a counter."""

import contextlib
import json
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idalloc_client import (
    BusyError,
    CallTimeoutError,
    ClientClosedError,
    ExhaustedError,
    IdAllocError,
    InvalidRequestError,
    QueueFullError,
    TooManyCallsError,
)
from idalloc_client._batching import _batcher as batcher_module
from idalloc_client._batching._batch_request import BatchRequest
from idalloc_client._batching._batcher import SLOW, Batcher
from idalloc_client._batching._climb import REQUESTS_IN_FLIGHT
from idalloc_client._batching._pace import CROWD
from idalloc_client._batching._refused_callers import RefusedCallers
from idalloc_client._batching._request_size import MAX_GATHERED, SMALLEST_PIECE, RequestSize
from idalloc_client._batching._tag_queue import Batch
from idalloc_client._rpc._copies import RoundTrip
from idalloc_client._rpc._request_spec import RawReply, RequestSpec
from idalloc_client._stats._counters import ClientCounters
from idalloc_schemas import Period, encode_alloc_success


class Timer:
    def __init__(self, at: float, callback: Callable[[], None]) -> None:
        self.at = at
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class World:
    """The loop, the pending calls and the worker around one batcher."""

    def __init__(self, max_calls: int = 1000, *, retry: bool = True) -> None:
        self.now = 0.0
        self.soon: list[Callable[[], None]] = []
        self.timers: list[Timer] = []
        self.sent: list[BatchRequest] = []
        self.requests = 0
        self.doubted: list[bytes] = []
        self.round_trip = RoundTrip()
        self.next_id = 1
        self.counters = ClientCounters()
        calls: Any = self
        self.batcher = Batcher(
            pending=calls,
            call_soon=self.soon.append,
            call_later=self._call_later,
            max_calls=max_calls,
            retry=retry,
            clock=lambda: self.now,
            jitter=lambda: 0.5,
        )

    # What the batcher sees of the pending calls

    def add(self, call: BatchRequest) -> bytes:
        self.sent.append(call)
        self.requests += 1
        return b"%d" % self.requests

    def look(self, now: float) -> None: ...

    def doubt(self, correlation_id: bytes) -> None:
        self.doubted.append(correlation_id)

    def forget(self, _correlation_id: bytes) -> None:
        """Nothing to do: `sent` is what the worker got."""

    def overdue(self, _queue: str) -> IdAllocError:
        return CallTimeoutError("late")

    # What the test does

    def ask(self, count: int | None = None, patience: float = 5.0, tag: str = "a") -> "Future[Any]":
        promise: Future[Any] = Future()
        self.batcher.add(tag, (promise, count, self.now + patience), patience)
        return promise

    def request_limits(self, patience: float = 5.0) -> set[int]:
        return {queue.request_size.limit for queue in self.batcher.queues(patience).values()}

    def turn(self) -> None:
        soon, self.soon[:] = list(self.soon), []
        for callback in soon:
            callback()

    def answer(self, index: int = 0) -> None:
        call = self.sent.pop(index)
        count = json.loads(call.spec.body)["count"]
        left, self.next_id = self.next_id, self.next_id + count
        call.finish(RawReply(encode_alloc_success([(left, self.next_id)]), "w"))
        self.turn()

    def refuse(self, code: int) -> None:
        """Answer that there are none, and that there may be some in 0.1 s."""
        body = b'{"resp_code":%d,"msg":"no","retry_after_ms":100}' % code
        self.sent.pop(0).finish(RawReply(body, "w"))
        self.turn()

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        for timer in [timer for timer in self.timers if timer.at <= self.now]:
            self.timers.remove(timer)
            if not timer.cancelled:
                timer.callback()

    def _call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        timer = Timer(self.now + delay, callback)
        self.timers.append(timer)
        return timer


def test_a_lone_call_leaves_at_once() -> None:
    """It does not wait for company."""
    world = World()
    call = world.ask()
    world.turn()
    world.answer()
    assert call.result(0) == 1


def test_calls_gather_while_others_are_in_flight() -> None:
    """A hundred calls in one turn are one request; those that come later leave with the next."""
    world = World()
    first = [world.ask() for _ in range(100)]
    world.turn()
    assert world.requests == 1
    for _ in range(REQUESTS_IN_FLIGHT - 1):
        world.ask()
        world.turn()
    later = [world.ask() for _ in range(50)]
    world.turn()
    assert world.requests == REQUESTS_IN_FLIGHT
    world.answer()
    assert [call.result(0) for call in first] == list(range(1, 101))
    assert world.requests == REQUESTS_IN_FLIGHT + 1
    while world.sent:
        world.answer()
    assert [call.result(0) for call in later] == sorted(call.result(0) for call in later)


def test_what_those_who_were_served_ask_for_leaves_in_their_turn() -> None:
    """A loop that looks at its sockets once more for each request costs a tenth of a lone call."""
    world = World()

    def wake() -> None:
        world.ask()

    world.ask().add_done_callback(lambda _: world.soon.append(wake))
    world.turn()
    world.answer()  # wakes the caller up, as asyncio does, and has one turn of the loop
    assert world.requests == 2


def test_first_come_first_served() -> None:
    """Within a tag nobody gets a lower id than one who called before."""
    world = World()
    calls = []
    for _ in range(10):
        calls += [world.ask(), world.ask(3)]
        world.turn()
    while world.sent:
        world.answer()
    firsts = [result if isinstance(result, int) else result[0] for result in map(_result, calls)]
    assert firsts == sorted(firsts)


def _result(call: "Future[Any]") -> Any:
    return call.result(0)


def test_a_huge_batch_does_not_hold_up_single_calls() -> None:
    """Single calls leave although as many batches as allowed are in flight."""
    world = World()
    for _ in range(REQUESTS_IN_FLIGHT + 1):
        world.ask(MAX_GATHERED + 1)
    world.turn()
    single = world.ask()
    world.turn()
    world.answer(len(world.sent) - 1)
    assert single.done()


def test_the_id_of_a_caller_that_left_goes_to_nobody() -> None:
    """Whoever called after the worker allotted it may have seen a higher one elsewhere."""
    world = World()
    leaver, stayer = world.ask(), world.ask()
    world.turn()
    leaver.cancel()
    world.answer()
    assert stayer.result(0) == 2
    assert world.counters.ids_unused == 1


def test_full_groups_do_not_wait() -> None:
    """Calls that would fill a request by themselves leave, however many are in flight."""
    world = World()
    batches = [world.ask(MAX_GATHERED) for _ in range(20)]
    world.turn()
    assert world.requests == 20
    while world.sent:
        world.answer()
    assert all(call.done() for call in batches)


def test_callers_in_a_hurry_travel_by_themselves() -> None:
    """A request has one expiration: a second and a minute do not share it."""
    world = World()
    world.ask(patience=60)
    world.ask(patience=1)
    world.turn()
    assert sorted(call.deadline for call in world.sent) == [1, 60]


def test_what_a_worker_has_left_is_used_up() -> None:
    """While the database is away, a crowd gets what is in memory, then the error, in few calls."""
    world = World(retry=False)
    calls = [world.ask() for _ in range(500)]
    world.turn()
    left = 123
    while world.sent:
        count = json.loads(world.sent[0].spec.body)["count"]
        if count <= left:
            left -= count
            world.answer()
        else:
            world.refuse(-1)
    served = [call for call in calls if call.exception(0) is None]
    assert len(served) == 123
    assert world.requests < 60
    assert world.batcher.calls == 0


def test_a_narrow_worker_is_not_remembered_for_ever() -> None:
    """Groups grow again when another worker allows more."""
    world = World()
    calls = [world.ask() for _ in range(100)]
    world.turn()
    world.refuse(-2)
    for _ in range(1000):
        world.pass_time(0.0)
        world.turn()
        while world.sent:
            world.answer()
        calls.append(world.ask())
    assert all(call.done() for call in calls[:-1])
    assert world.request_limits() == {MAX_GATHERED}


def test_an_error_reaches_every_caller_as_its_own() -> None:
    """Each gets an exception of its own, with the fields of the first."""
    world = World()
    calls = [world.ask() for _ in range(3)]
    world.turn()
    world.refuse(-3)
    errors = [call.exception(0) for call in calls]
    assert len({id(error) for error in errors}) == 3
    assert {type(error).__name__ for error in errors} == {"AppTagNotFoundError"}
    assert {error.retry_after for error in errors} == {0.1}  # type: ignore[union-attr]


def test_a_slow_request_does_not_hold_up_the_tag() -> None:
    """While some requests are stuck at a frozen worker, later calls reach another one."""
    world = World()
    stuck = []
    for _ in range(REQUESTS_IN_FLIGHT):
        stuck.append(world.ask())
        world.turn()
    later = world.ask()
    world.turn()
    assert len(world.sent) == REQUESTS_IN_FLIGHT
    world.pass_time(0.3)
    world.answer(len(world.sent) - 1)
    assert later.result(0) == 1
    world.pass_time(10)
    assert all(isinstance(call.exception(0), CallTimeoutError) for call in stuck)
    assert world.ask() is not None
    world.turn()
    world.answer(len(world.sent) - 1)


def test_a_leaving_worker_is_asked_again_only_in_time() -> None:
    """SHUTTING_DOWN is tried again after the pause, for those who can wait that long."""
    world = World()
    patient, hasty = world.ask(), world.ask(patience=0.05)
    world.turn()
    world.refuse(-7)
    world.refuse(-7)
    assert type(hasty.exception(0)).__name__ == "ShuttingDownError"
    world.pass_time(0.13)
    world.answer()
    assert patient.result(0) == 1


def test_a_sum_that_is_too_large_is_split() -> None:
    """A worker that allows fewer ids in a request gets smaller requests, not unhappy callers."""
    world = World()
    calls = [world.ask(40) for _ in range(8)]
    world.turn()
    for _ in range(200):
        if not world.sent:
            world.pass_time(0.0)
            world.turn()
        elif json.loads(world.sent[0].spec.body)["count"] > 100:
            world.refuse(-2)
        else:
            world.answer()
    assert sorted(call.result(0)[0] for call in calls) == [1, 41, 81, 121, 161, 201, 241, 281]


def test_the_last_ids_are_not_refused_to_a_crowd() -> None:
    """When fewer ids are left than callers gathered, as many callers as possible get one."""
    world = World()
    calls = [world.ask() for _ in range(10)]
    world.turn()
    left = 6
    while world.sent:
        count = json.loads(world.sent[0].spec.body)["count"]
        if count <= left:
            left -= count
            world.answer()
        else:
            world.refuse(-4)
    served = [call for call in calls if call.exception(0) is None]
    assert len(served) == 6
    assert world.batcher.calls == 0


def test_lanes_of_tags_that_are_not_used_do_not_pile_up() -> None:
    """Ten thousand tags, one after the other, leave a bounded number of queues."""
    world = World()
    for number in range(10_000):
        call = world.ask(tag=f"tag-{number}")
        world.turn()
        world.answer()
        assert call.done()
    assert sum(map(len, world.batcher._queues.values())) <= 1001


def test_a_call_that_is_too_large_alone_is_told() -> None:
    """INVALID_REQUEST for a single caller is that caller's error."""
    world = World()
    call = world.ask(500)
    world.turn()
    world.refuse(-2)
    assert isinstance(call.exception(0), InvalidRequestError)


def test_calls_are_limited() -> None:
    """One call more than allowed fails at once."""
    world = World(max_calls=2)
    world.ask()
    world.ask()
    assert isinstance(world.ask().exception(0), TooManyCallsError)


def _counted(world: World) -> int:
    counters = world.counters
    return (
        counters.served + sum(counters.failed.values()) + counters.abandoned + world.batcher.calls
    )


def _play(world: World, calls: "list[Future[Any]]", step: str, amount: int) -> None:
    match step:
        case "ask":
            calls.append(world.ask(None, 1 + amount / 10))
        case "batch":
            calls.append(world.ask(amount + 1, 1 + amount / 10))
        case "turn":
            world.turn()
        case "answer" if world.sent:
            world.answer(amount % len(world.sent))
        case "refuse" if world.sent:
            world.refuse([-1, -7, -8][amount % 3])
        case "leave" if calls:
            calls[amount % len(calls)].cancel()
        case "wait":
            world.pass_time(amount / 20)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["ask", "batch", "turn", "answer", "refuse", "leave", "wait"]),
            st.integers(0, 50),
        ),
        max_size=60,
    ),
    st.booleans(),
)
def test_every_call_ends_once_and_nothing_is_left(
    steps: list[tuple[str, int]],
    close: bool,  # noqa: FBT001
) -> None:
    """Whatever the order: no id twice, every call ends and is counted, and the books are empty."""
    world = World()
    calls: list[Future[Any]] = []
    for step, amount in steps:
        _play(world, calls, step, amount)
        assert _counted(world) == len(calls)
    if close:
        world.batcher.close(ClientClosedError("closed"))
        assert _counted(world) == len(calls)
    for _ in range(100):
        world.turn()
        while world.sent:
            world.answer()
        world.pass_time(0.2)
    assert all(call.done() for call in calls)
    assert world.batcher.calls == 0
    assert not list(world.batcher.waiters())
    assert _counted(world) == len(calls)
    ids: list[int] = []
    for call in calls:
        if not call.cancelled() and call.exception(0) is None:
            result = call.result(0)
            ids += [result] if isinstance(result, int) else result
    assert len(set(ids)) == len(ids)


def test_a_crowd_is_served_in_pieces() -> None:
    """Callers who come at once travel in as many requests as may leave, none of them tiny."""
    world = World()
    calls = [world.ask() for _ in range(REQUESTS_IN_FLIGHT * SMALLEST_PIECE)]
    world.turn()
    assert [json.loads(call.spec.body)["count"] for call in world.sent] == (
        [SMALLEST_PIECE] * REQUESTS_IN_FLIGHT
    )
    while world.sent:
        world.answer()
    assert [call.result(0) for call in calls] == list(range(1, len(calls) + 1))


def test_replies_that_come_together_are_shared_out_in_turns() -> None:
    """The callers of the first reply have their next request on its way before the others wake."""
    world = World()
    calls = [world.ask() for _ in range(2 * SMALLEST_PIECE)]
    world.turn()
    first, second = world.sent
    first.finish(RawReply(encode_alloc_success([(1, SMALLEST_PIECE + 1)]), "w"))
    second.finish(RawReply(encode_alloc_success([(1001, 1001 + SMALLEST_PIECE)]), "w"))
    assert [call.done() for call in calls] == [True] * SMALLEST_PIECE + [False] * SMALLEST_PIECE
    world.turn()
    assert all(call.done() for call in calls)


def test_replies_for_few_callers_are_shared_out_together() -> None:
    """Callers of many tags, one each: what they ask for next leaves in one write."""
    world = World()
    asked = [world.ask(tag=f"t{number}") for number in range(CROWD + 5)]
    world.turn()
    for call in list(world.sent):
        call.finish(RawReply(encode_alloc_success([(1, 2)]), "w"))
    assert [promise.done() for promise in asked] == [True] * CROWD + [False] * 5
    world.turn()
    assert all(promise.done() for promise in asked)


def test_what_happens_is_counted() -> None:
    """Served, failed, gone and late calls, requests and ids: each appears in one tally."""
    world = World()
    world.ask()
    leaver = world.ask()
    world.ask(10)
    world.turn()
    leaver.cancel()
    world.answer()
    world.ask()
    world.turn()
    world.refuse(-3)
    counters = world.counters
    assert (counters.requests, counters.gathered) == (2, 4)
    assert (counters.served, counters.abandoned, counters.ids, counters.ids_unused) == (2, 1, 12, 1)
    assert counters.failed == {"AppTagNotFoundError": 1}
    assert sum(counters.round_trip.counts) == 2


def test_callers_that_have_gone_are_not_asked_for() -> None:
    """No id is spent on a caller that left before its request did."""
    world = World()
    first = world.ask()
    first.cancel()
    second = world.ask()
    world.turn()
    world.answer()
    assert second.result(0) == 1
    assert world.counters.ids == 1


def test_the_lane_of_a_slow_request_is_kept() -> None:
    """Its callers may have to stand in line again, where deadlines and a close find them."""
    world = World()
    slow = world.ask(patience=5)
    world.turn()
    world.pass_time(0.25)  # it holds no place any more
    held_back = world.sent.pop()
    for number in range(1500):
        world.ask(tag=f"tag-{number}")
        world.turn()
        world.answer()
    world.sent.append(held_back)
    world.refuse(-7)
    assert [waiter[0] for waiter in world.batcher.waiters()] == [slow]
    world.batcher.close(ClientClosedError("closed"))
    assert isinstance(slow.exception(0), ClientClosedError)


def test_a_reply_that_cannot_be_handled_holds_up_no_other() -> None:
    """A fault of ours costs the callers of one request, who are told."""
    world = World()

    def read(_raw: RawReply) -> Any:
        raise RuntimeError("a fault")

    first, second = world.ask(), world.ask(tag="b")
    world.turn()
    world.sent[0].spec = RequestSpec("", "", world.sent[0].spec.body, read)
    world.answer()
    world.answer()
    world.turn()
    assert second.result(0) == 2
    assert isinstance(first.exception(0).__cause__, RuntimeError)  # type: ignore[union-attr]
    assert _counted(world) == 2


def _fail(*_: object) -> Any:
    raise RuntimeError("a fault")


@pytest.mark.parametrize(
    "place", ["read", "alloc_request", "hand_out", "forget", "widen", "add", "overdue", "before"]
)
def test_a_fault_leaves_no_tag_full(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever it happens as requests leave and end: later callers of the tag are served."""
    world = World()
    calls: list[Future[Any]] = []
    with monkeypatch.context() as patch:
        break_at(world, place, patch)
        for _ in range(REQUESTS_IN_FLIGHT + 1):
            calls.append(world.ask())
            for step in (world.turn, world.answer, world.turn):
                with contextlib.suppress(RuntimeError, IndexError):  # nothing was sent
                    step()
        with contextlib.suppress(RuntimeError):
            world.pass_time(6.0)
    calls.append(world.ask())
    for _ in range(3):
        world.turn()
        while world.sent:
            world.answer()
        world.pass_time(0.3)
    assert calls[-1].result(0) > 0
    assert all(call.done() for call in calls)
    assert world.batcher.calls == 0
    assert _counted(world) == len(calls)


def break_at(world: World, place: str, patch: pytest.MonkeyPatch) -> None:
    """Let a fault of ours be somewhere."""
    match place:
        case "read":
            broken = RequestSpec("", "", b'{"count":1}', _fail)
            patch.setattr(batcher_module, "alloc_request", lambda *_: broken)
        case "alloc_request":
            patch.setattr(batcher_module, place, _fail)
        case "hand_out":
            patch.setattr(Batch, place, _fail)
        case "widen":
            patch.setattr(RequestSize, place, _fail)
        case "before":
            patch.setattr(world.batcher, "_before_flush", _fail)
        case _:
            patch.setattr(world, place, _fail)


def one_has_gathered() -> tuple[World, Future[Any]]:
    """Let requests take all places of a tag, and another caller wait for one."""
    world = World()
    for _ in range(REQUESTS_IN_FLIGHT):
        world.ask()
        world.turn()
    gathered = world.ask()
    world.turn()
    return world, gathered


def test_those_who_gathered_leave_though_an_answer_failed() -> None:
    """Nobody else comes to send for them."""
    world, gathered = one_has_gathered()
    assert len(world.sent) == REQUESTS_IN_FLIGHT
    broken = world.sent[0].spec
    world.sent[0].spec = RequestSpec(broken.queue, broken.message_type, broken.body, _fail)
    world.answer()
    assert len(world.sent) == REQUESTS_IN_FLIGHT
    while world.sent:
        world.answer()
    assert gathered.result(0) > 0


def test_those_who_gathered_leave_though_a_refusal_was_not_handled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It has no answer whose callers come back and send for them."""
    world, gathered = one_has_gathered()
    with monkeypatch.context() as patch:
        patch.setattr(RefusedCallers, "handle", _fail)
        world.sent.pop(0).finish(QueueFullError())
    assert len(world.sent) == REQUESTS_IN_FLIGHT
    while world.sent:
        world.answer()
    assert gathered.result(0) > 0


def test_ctrl_c_while_a_request_is_sent_for_leaves_no_tag_full() -> None:
    """A loop of asyncio is interrupted anywhere in its callbacks."""
    world = World()
    soon = world.batcher._call_soon

    def interrupted(_callback: object) -> None:
        raise KeyboardInterrupt

    world.batcher._call_soon = interrupted
    with pytest.raises(KeyboardInterrupt):
        world.ask()
    world.batcher._call_soon = soon
    later = world.ask()
    world.turn()
    world.answer()
    assert later.result(0) == 2


@pytest.mark.parametrize("passed", [0.0, 3.95])
def test_nobody_waits_for_those_who_are_tried_again(passed: float) -> None:
    """A worker that leaves asks for a pause. Later callers, with less time than that, are served.

    Whether somebody will be tried again after the pause, or nobody has so much time left.
    """
    world = World()
    first = world.ask(patience=4.0)
    world.turn()
    world.now += passed
    world.refuse(-7)
    hasty = world.ask(patience=4.0)
    world.turn()
    assert len(world.sent) == 1
    world.answer()
    assert hasty.result(0) == 1
    world.pass_time(0.13)
    while world.sent:
        world.answer()
    assert type(first.exception(0)).__name__ == ("ShuttingDownError" if passed else "NoneType")
    assert world.batcher.calls == 0


def test_closing_counts_whoever_had_gone() -> None:
    """A caller that left while it waited is cancelled; the others get the error."""
    world = World()
    world.ask().cancel()
    world.ask()
    world.batcher.close(ClientClosedError("closed"))
    assert world.counters.abandoned == 1
    assert world.counters.failed == {"ClientClosedError": 1}
    assert world.batcher.calls == 0


def test_a_batch_that_is_too_large_takes_no_single_call_along() -> None:
    """When the space ends, whoever asks for more than there is fails, and the others are served."""
    world = World()
    calls = [world.ask(500), world.ask(), world.ask(90), world.ask(700), world.ask()]
    world.turn()
    left = 100
    while world.sent:
        count = json.loads(world.sent[0].spec.body)["count"]
        if count <= left:
            left -= count
            world.answer()
        else:
            world.refuse(-4)
    failed = [isinstance(call.exception(0), ExhaustedError) for call in calls]
    assert failed == [True, False, False, True, False]
    assert world.requests <= 2 * len(calls)
    assert world.batcher.calls == 0


def test_a_full_queue_is_asked_again_while_there_is_time() -> None:
    """What the broker does not take is sent again after a pause; who has no time left is told."""
    world = World()
    patient, impatient = world.ask(), world.ask(patience=0.04)
    world.turn()
    for call in list(world.sent):
        call.finish(QueueFullError())
    world.sent.clear()
    world.turn()
    error = impatient.exception(timeout=0)
    assert isinstance(error, BusyError)
    assert error.retry_after is not None
    assert not patient.done()
    world.pass_time(0.2)
    world.answer()
    assert patient.result(timeout=0) == 1


def test_a_request_without_an_answer_is_doubted() -> None:
    """A full queue drops what nobody asks about: `PendingCalls` hears which wait long."""
    world = World()
    world.ask()
    world.turn()
    world.pass_time(SLOW / 2)
    assert world.doubted == []
    world.pass_time(SLOW)
    assert set(world.doubted) == {b"1"}


def test_requests_go_to_the_owner_that_an_answer_named() -> None:
    """Until one names none: the tag is not ordered any more, or its owner an earlier version."""
    november = Period.parse("2026-11")
    world = World()
    for queue in ("id.ordered.5", None, "id.ordered.5", "orders"):
        world.ask()
        world.turn()
        call = world.sent.pop()
        call.finish(RawReply(encode_alloc_success([(1, 2)], None, queue), "w"))
        world.turn()
        world.ask()
        world.turn()
        assert world.sent[-1].shortcut == (queue if queue != "orders" else None)
        world.answer(-1)
    world.ask()
    world.turn()
    world.sent.pop().finish(RawReply(encode_alloc_success([(1, 2)], november, "id.ordered.5"), "w"))
    world.ask()
    world.turn()
    assert world.sent[-1].shortcut == "id.ordered.5"
    world.refuse(-6)
    world.ask()
    world.pass_time(1.0)
    world.turn()
    assert world.sent[-1].shortcut is None
