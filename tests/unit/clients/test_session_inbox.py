"""Callers come in from other threads at any moment: none of them is overlooked.

Both sides run on one thread here. After each step of one side the other one may have a turn; all
ways to have two such turns are tried.
"""

import json
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from itertools import product
from typing import Any

import pytest

from idalloc_client._batching._batch_request import BatchRequest
from idalloc_client._batching._batcher import Batcher
from idalloc_client._batching._climb import REQUESTS_IN_FLIGHT
from idalloc_client._batching._tag_queue import TagQueue
from idalloc_client._clients._session import _Running
from idalloc_client._rpc._request_spec import RawReply
from idalloc_client._stats._counters import ClientCounters
from idalloc_schemas import encode_alloc_success

_TIMEOUT = 5.0


class Schedule:
    """Says at each step whether the other side has a turn now, and which one.

    A turn is taken after as many steps without one as its number says.
    """

    def __init__(self) -> None:
        self._turns: deque[tuple[int, str]] = deque()
        self._steps = 0
        self.take_turn: Callable[[str], None] = lambda _turn: None

    def start(self, *turns: tuple[int, str]) -> None:
        self._turns = deque(turns)
        self._steps = 0

    def step(self) -> None:
        self._steps += 1
        if self._turns and self._turns[0][0] < self._steps:
            self._steps = 0
            self.take_turn(self._turns.popleft()[1])


class SteppingInbox(deque[Any]):
    schedule: Schedule

    def append(self, caller: Any) -> None:
        self.schedule.step()
        super().append(caller)
        self.schedule.step()

    def popleft(self) -> Any:
        self.schedule.step()
        return super().popleft()

    def __bool__(self) -> bool:
        found = len(self) > 0
        self.schedule.step()
        return found


class SteppingQueues(dict[str, TagQueue]):
    schedule: Schedule

    def get(self, tag: str, default: Any = None) -> Any:
        queue = super().get(tag, default)
        self.schedule.step()
        return queue


class SteppingRunning(_Running):
    """The real protocol, with a step at each look at what both sides share."""

    def __init__(self, schedule: Schedule, world: "World") -> None:
        self.schedule = schedule
        stranger: Any = world
        self.thread = stranger
        self.batcher = Batcher(
            pending=stranger,
            call_soon=world.soon.append,
            call_later=lambda _delay, _callback: None,  # no look at what is slow helps out
            max_calls=1000,
            retry=True,
            before_flush=self._take_in,
            clock=lambda: 0.0,
        )
        self._timeout = _TIMEOUT
        queues = SteppingQueues()
        queues.schedule = schedule
        self.batcher.queues(_TIMEOUT)
        (key,) = self.batcher._queues
        self.batcher._queues[key] = queues
        self.queues = queues
        self._inbox = SteppingInbox()
        self._inbox.schedule = schedule
        self._is_woken = False

    @property
    def _woken(self) -> bool:
        woken = self._is_woken
        self.schedule.step()
        return woken

    @_woken.setter
    def _woken(self, woken: bool) -> None:
        self.schedule.step()
        self._is_woken = woken
        self.schedule.step()


class World:
    """The I/O thread, the pending calls and the worker."""

    def __init__(self) -> None:
        self.soon: list[Callable[[], None]] = []
        self.posted: list[Callable[[], None]] = []
        self.sent: list[BatchRequest] = []
        self.promises: list[Future[Any]] = []
        self.counters = ClientCounters()
        self.next_id = 1
        self._io_runs = False
        self.schedule = Schedule()
        self.running = SteppingRunning(self.schedule, self)
        self.schedule.take_turn = self.take_turn

    # What the link's thread and the pending calls would do

    def post(self, callback: Callable[[], None]) -> None:
        self.posted.append(callback)

    def add(self, call: BatchRequest) -> bytes:
        self.sent.append(call)
        return b""

    def forget(self, _correlation_id: bytes) -> None:
        """Nothing to do."""

    # Turns

    def take_turn(self, turn: str) -> None:
        match turn:
            case "single" | "batch":
                self.enter(None if turn == "single" else 3)
            case "wake" | "answer" if not self._io_runs:
                self.run_io(answer=turn == "answer")
            case "late":  # the wake-up of a caller that a flush took in meanwhile
                self.running._woken = True
                self.post(self.running._take_in)
            case "answers" if not self._io_runs:
                while self.sent:
                    self.run_io(answer=True)

    def nobody_is_forgotten(self) -> bool:
        """Whether those in the inbox are looked at soon, or all places are taken."""
        queue = dict(self.running.queues).get("a")
        full = queue is not None and queue.in_flight >= REQUESTS_IN_FLIGHT
        return not len(self.running._inbox) or bool(self.posted) or full

    def enter(self, count: int | None) -> None:
        promise: Future[Any] = Future()
        self.promises.append(promise)
        self.running.enter("a", _TIMEOUT, (promise, count, _TIMEOUT))

    def run_io(self, *, answer: bool) -> None:
        """Do what the thread has to do; without a wake-up or a reply it has nothing to do."""
        self._io_runs = True
        if answer and self.sent:
            call = self.sent.pop(0)
            count = json.loads(call.spec.body)["count"]
            left, self.next_id = self.next_id, self.next_id + count
            call.finish(RawReply(encode_alloc_success([(left, self.next_id)]), "w"))
        else:
            while self.posted:
                self.posted.pop(0)()
        while self.soon:
            self.soon.pop(0)()
        self._io_runs = False


TURNS = ["single", "batch", "wake", "answer", "answers"]
GAPS = range(10)  # steps before a turn; an interrupted turn takes about as many


@pytest.mark.parametrize(
    "before",
    [
        [],
        pytest.param(["single", "wake"], marks=pytest.mark.long),
        pytest.param(["single", "wake"] * 2, marks=pytest.mark.long),
        pytest.param(["late"], marks=pytest.mark.long),
    ],
)
@pytest.mark.parametrize("interrupted", ["single", "wake", "answer"])
def test_nobody_is_overlooked(before: list[str], interrupted: str) -> None:
    """Nobody stands in the inbox with places free and no wake-up; in the end, everybody has ids.

    `before` leaves none, one or both of the places taken.
    """
    turns = list(product(GAPS, TURNS))
    for first, second in product(turns, turns):
        world = World()
        for turn in before:
            world.take_turn(turn)
        world.schedule.start(first, second)
        world.take_turn(interrupted)
        assert world.nobody_is_forgotten(), (first, second)
        world.schedule.start()
        while world.posted or world.sent:
            world.run_io(answer=not world.posted)
        assert all(promise.done() for promise in world.promises), (first, second)
