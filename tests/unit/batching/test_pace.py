"""How many requests are on their way follows what was measured: the pure part, and a simulation.

The simulation runs the real batcher on a clock of its own, with a broker that is so far away.
"""

import heapq
import random
from collections.abc import Callable
from concurrent.futures import Future
from statistics import mean
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idalloc_client._batching._batch_request import BatchRequest
from idalloc_client._batching._climb import REQUESTS_IN_FLIGHT
from idalloc_client._batching._pace import FAR, Pace
from idalloc_client._batching._request_size import SMALLEST_PIECE
from idalloc_client._batching._tag_queue import CallLimit, TagQueue
from idalloc_client._rpc._request_spec import RawReply
from idalloc_schemas import encode_alloc_success
from tests.unit.batching.test_batcher import World

LOOPBACK, NEAR, DISTANT = 0.0005, 0.0025, 0.0405
"""Round trips in seconds: on this machine, and 1 ms and 20 ms away."""
PER_ID, PER_REQUEST = 2.5e-6, 60e-6  # seconds of a client's work, as measured


class Simulation(World):
    """A batcher whose requests are answered after a round trip, and whose client works."""

    def __init__(self, round_trip: float) -> None:
        super().__init__(max_calls=100_000)
        self.distance = round_trip
        self.events: list[tuple[float, int, Callable[[], object]]] = []
        self.numbers = iter(range(10**9))
        self.latencies: list[float] = []
        self.asked: list[BatchRequest] = []
        self.random = random.Random(1)

    def at(self, time: float, event: Callable[[], object]) -> None:
        heapq.heappush(self.events, (time, next(self.numbers), event))

    def _call_later(self, delay: float, callback: Callable[[], None]) -> Any:
        # Loops wake up by the millisecond, and not before it is time.
        self.at(self.now + max(delay, 0.001), callback)

    def add(self, call: BatchRequest) -> bytes:
        self.requests += 1
        self.asked.append(call)
        self.at(self.now + self.distance, lambda: self.come(call))
        return b"%d" % self.requests

    def come(self, call: BatchRequest) -> None:
        self.answer_to(call)
        self.now += PER_REQUEST + call.batch.size * PER_ID

    def answer_to(self, call: BatchRequest) -> None:
        left, self.next_id = self.next_id, self.next_id + call.batch.size
        call.finish(RawReply(encode_alloc_success([(left, self.next_id)]), "w"))

    def run(self, seconds: float) -> None:
        """Let it go on until then; what comes while the client works waits."""
        self.at(self.now, lambda: None)  # for what was asked before
        while self.events and self.events[0][0] < seconds:
            time, _, event = heapq.heappop(self.events)
            self.now = max(self.now, time)
            event()
            while self.soon:
                self.turn()

    def call(self, tag: str, then: Callable[[], object] = lambda: None) -> None:
        began, promise = self.now, self.ask(tag=tag)

        def on_done(_promise: "Future[Any]") -> None:
            self.latencies.append(self.now - began)
            self.soon.append(then)  # type: ignore[arg-type]  # what it returns is not looked at

        promise.add_done_callback(on_done)

    def again_and_again(self, tag: str) -> None:
        self.call(tag, lambda: self.again_and_again(tag))

    def poisson(self, rate: float) -> None:
        self.call("a")
        self.at(self.now + self.random.expovariate(rate), lambda: self.poisson(rate))


@pytest.mark.parametrize("round_trip", [NEAR, DISTANT])
@pytest.mark.parametrize(
    ("callers", "times"),
    [(1, 200), (16, 200), (256, 40), pytest.param(10_000, 10, marks=pytest.mark.long)],
)
def test_callers_on_a_long_way_get_nearly_an_id_each_round_trip(
    round_trip: float, callers: int, times: int
) -> None:
    """As many as there are, less what the client's own work for them takes."""
    world = Simulation(round_trip)
    for _ in range(callers):
        world.again_and_again("a")
    seconds = times * round_trip
    world.run(seconds)
    cycle = round_trip + callers * PER_ID + FAR * PER_REQUEST
    assert len(world.latencies) >= 0.9 * callers * (seconds / cycle - 2)


@pytest.mark.parametrize("round_trip", [NEAR, DISTANT])
def test_who_comes_on_a_long_way_hardly_waits_to_leave(round_trip: float) -> None:
    """With Poisson arrivals, half of what 256 callers get: at most 1.3 round trips on average."""
    world = Simulation(round_trip)
    world.poisson(128 / round_trip)
    world.run(100 * round_trip)
    settled = world.latencies[len(world.latencies) // 4 :]
    assert mean(settled) <= 1.3 * round_trip
    assert world.requests <= 100 * FAR * 4 / 3 + 10


@pytest.mark.parametrize("callers", [1, 16, 256, 2000])
def test_near_a_tag_has_two_requests_at_most(callers: int) -> None:
    """So that one is answered while the callers of the other are served."""
    world = Simulation(LOOPBACK)
    for _ in range(callers):
        world.again_and_again("a")
    most = 0
    for step in range(1, 100):
        world.run(step * LOOPBACK)
        (queue,) = world.batcher.queues(5.0).values()
        most = max(most, queue.in_flight)
    assert most == (REQUESTS_IN_FLIGHT if callers > 2 * SMALLEST_PIECE else 1)


def test_a_crowd_on_a_long_way_leaves_in_shares_at_once() -> None:
    """So that one share is served while the others are on their way; few go together."""
    world = Simulation(NEAR)
    world.call("a")
    world.run(2 * NEAR)  # now it is known to be far
    for _ in range(256):
        world.again_and_again("a")
    world.run(3 * NEAR)
    shares = world.asked[1 : 1 + FAR]
    assert [call.batch.size for call in shares] == [256 // FAR] * FAR
    assert len({call.sent_at for call in shares}) == 1
    few = Simulation(NEAR)
    few.call("a")
    few.run(2 * NEAR)
    for _ in range(SMALLEST_PIECE // 2):
        few.call("a")
    few.run(3 * NEAR)
    assert [call.batch.size for call in few.asked[1:]] == [SMALLEST_PIECE // 2]


def test_a_thousand_tags_do_not_have_four_each() -> None:
    """All of them together may cost a quarter of the time: each answer is work, however far."""
    world = Simulation(DISTANT)
    for number in range(1000):
        for _ in range(8):
            world.again_and_again(f"t{number}")
    world.run(4 * DISTANT)
    queues = world.batcher.queues(5.0).values()
    assert sum(queue.in_flight for queue in queues) <= 1000 * REQUESTS_IN_FLIGHT + FAR


def test_all_tags_together_are_bounded_by_their_work() -> None:
    """Where answers are little work there is room for more of them."""
    pace = Pace()
    pace.came_back(DISTANT, alone=True)
    for _ in range(100):
        pace.served(1, 0.0, PER_REQUEST)
    room = round(DISTANT / PER_REQUEST / 4)
    assert pace.places(room - 10) == FAR
    assert pace.places(room + 10) == REQUESTS_IN_FLIGHT


def test_who_is_held_back_is_let_go_each_time() -> None:
    """By a timer, with no answer meanwhile; and a caller who comes to an empty way is not held."""
    world = Simulation(DISTANT)
    world.call("a")
    world.run(2 * DISTANT)  # now it is known to be far
    for round_trip in (2, 4):
        began = world.now = round_trip * DISTANT
        world.call("a")
        world.run(began + 1e-9)
        world.call("a")
        world.run(began + DISTANT / 2)
        (queue,) = world.batcher.queues(5.0).values()
        assert (queue.in_flight, len(queue.waiting)) == (2, 0)
        world.run(began + 2 * DISTANT)


TIMES = st.floats(1e-6, 10.0)


@given(st.lists(st.tuples(TIMES, TIMES), max_size=30), st.integers(0, 5000), st.integers(0, 10))
def test_whatever_was_measured_a_queue_is_never_stuck(
    measured: list[tuple[float, float]], on_the_way: int, in_flight: int
) -> None:
    """A queue with nothing on its way may send at once; one in its bounds within a gap, for few."""
    pace = Pace()
    for round_trip, work in measured:
        pace.came_back(round_trip, alone=True)
        pace.served(1, 0.0, work)
    queue = TagQueue("a", CallLimit(1), lambda _queue: None)
    assert pace.wait(queue, on_the_way, 1.0) == 0
    queue.in_flight, queue.left_at = in_flight, 1.0
    queue.asked_for = in_flight * SMALLEST_PIECE
    queue.waiting = [(Future(), None, 1.0)]
    assert REQUESTS_IN_FLIGHT <= pace.places(on_the_way) <= FAR
    wait = pace.wait(queue, on_the_way, 1.0)
    if 0 < in_flight < REQUESTS_IN_FLIGHT:
        assert wait == pytest.approx(pace.gap)
    if in_flight >= FAR:
        assert wait == float("inf")
    assert 0 <= pace.gap <= 10.0 / FAR
    queue.asked_for = 0
    queue.waiting *= in_flight
    assert pace.piece(queue) >= min(in_flight, SMALLEST_PIECE)


def test_what_waits_for_others_makes_the_way_no_longer() -> None:
    """Else more of them would be sent, and wait for each other for good."""
    pace = Pace()
    pace.came_back(LOOPBACK, alone=True)
    for _ in range(10_000):
        pace.came_back(DISTANT, alone=False)
    assert pace.gap == 0
    for _ in range(10_000):
        pace.came_back(DISTANT, alone=True)
    assert pace.gap > 0


def test_a_slow_spell_is_not_distance() -> None:
    """Round trips that only wait in queues do not make a near broker a far one."""
    pace = Pace()
    pace.came_back(LOOPBACK, alone=True)
    for _ in range(100):
        pace.came_back(0.01, alone=True)
    assert pace.places(0) == REQUESTS_IN_FLIGHT
    assert pace.gap == 0
