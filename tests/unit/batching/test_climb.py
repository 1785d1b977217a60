"""The number of requests near a broker is found by trying: on made-up machines, and simulated ones.

A made-up machine says for each number how many ids come per second, how much CPU time of the client
that takes, and how long serving callers lasts. The simulated ones run the real batcher.
"""

import random
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import groupby, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idalloc_client._batching._batch_request import BatchRequest
from idalloc_client._batching._climb import MOST, REQUESTS_IN_FLIGHT, WINDOW, Climb
from idalloc_client._batching._pace import FAR, LARGEST_PIECE, Pace
from tests.unit.batching.test_pace import Simulation

TURN = 0.001  # seconds

Machine = Mapping[int, tuple[float, ...]]
"""By the number of requests: ids per second, the client's share of a core, and the share of the
time in which it serves, if that is more, as it waits for a core."""

# As they were measured on machines of different kinds.
TWO_CORES: Machine = {1: (85e3, 0.5), 2: (150e3, 0.95), 4: (90e3, 0.7), 8: (75e3, 0.6)}
TWO_CORES_IDLE: Machine = {1: (85e3, 0.5), 2: (140e3, 0.74), 4: (90e3, 0.7), 8: (75e3, 0.6)}
MANY_CORES: Machine = {1: (210e3, 0.4), 2: (280e3, 0.6), 4: (324e3, 0.7), 8: (387e3, 0.79)}
THREADS: Machine = {1: (30e3, 0.94), 2: (27e3, 0.95), 4: (25e3, 0.92), 8: (22e3, 0.92)}
CONTENDED: Machine = {
    1: (155e3, 0.65, 0.58),
    2: (105e3, 0.55, 0.68),
    4: (80e3, 0.5, 0.75),
    8: (60e3, 0.5, 0.8),
}
CONTENDED_FLAT: Machine = dict.fromkeys((1, 2, 4, 8), (30e3, 0.5, 0.6))
SLOW_ANSWERS: Machine = {
    1: (55e3, 0.4, 0.5),
    2: (90e3, 0.5, 0.6),
    4: (120e3, 0.6, 0.7),
    8: (110e3, 0.6, 0.7),
}
FLAT: Machine = dict.fromkeys((1, 2, 4, 8), (30e3, 0.85))


@dataclass
class Driver:
    """Lets a climb go on a machine."""

    seed: int = 1
    noise: float = 0.0
    now: float = 0.0
    cpu: float = 0.0
    ids: float = 0.0
    places: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.climb = Climb(lambda: self.cpu)

    def run(self, machine: Machine, seconds: float, *, crowd: bool = True) -> float:
        """Go on for so long; return the ids per second."""
        ids, end, factor = 0.0, self.now + seconds, 1.0
        for turn in range(round(seconds / TURN)):
            if not turn % round(WINDOW / TURN):  # what disturbs lasts
                factor = self.random.uniform(1 - self.noise, 1 + self.noise)
            rate, busy, *more = machine[self.climb.places]
            self.now += TURN
            self.cpu += busy * TURN
            ids += rate * factor * TURN
            self.climb.full = True
            served = round(rate * factor * TURN) if crowd else 1
            began = self.now - TURN * (more[0] if more else 0.9 * busy)
            self.climb.served(served, began, self.now, 0.0005)
            self.places.append(self.climb.places)
        assert self.now == pytest.approx(end)
        return ids / seconds

    def mostly(self, seconds: float) -> int:
        """Tell what it chose most of the time lately."""
        lately = self.places[-round(seconds / TURN) :]
        return max(set(lately), key=lately.count)


@pytest.mark.parametrize(
    ("machine", "best"),
    [
        (TWO_CORES, 2),
        (TWO_CORES_IDLE, 2),
        (MANY_CORES, 8),
        (THREADS, 1),
        (CONTENDED, 1),
        (CONTENDED_FLAT, 2),
        (SLOW_ANSWERS, 4),
        (FLAT, 2),
    ],
)
@pytest.mark.parametrize("noise", [0.0, 0.03])
def test_the_best_number_is_found_within_a_second_and_kept(
    machine: Machine, best: int, noise: float
) -> None:
    """Of each machine; what is tried meanwhile costs next to nothing."""
    driver = Driver(noise=noise)
    driver.run(machine, 1.0)
    got = driver.run(machine, 10.0)
    assert driver.mostly(10.0) == best
    assert got >= 0.97 * machine[best][0]


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(
    "machine", [TWO_CORES, TWO_CORES_IDLE, MANY_CORES, THREADS, CONTENDED, FLAT]
)
def test_on_a_restless_machine_it_is_no_worse_than_the_usual_number(
    machine: Machine, seed: int
) -> None:
    """Though each window may get a quarter more or less."""
    got = Driver(seed, noise=0.25).run(machine, 20.0)
    assert got >= 0.95 * machine[REQUESTS_IN_FLIGHT][0]


@pytest.mark.parametrize(
    ("before", "after", "best"),
    [
        (MANY_CORES, THREADS, 1),
        (THREADS, MANY_CORES, 8),
        (MANY_CORES, TWO_CORES, 2),
        (TWO_CORES, CONTENDED, 1),
        (CONTENDED, TWO_CORES, 2),
        (CONTENDED_FLAT, SLOW_ANSWERS, 4),
    ],
)
def test_after_a_change_of_load_it_is_right_within_a_second(
    before: Machine, after: Machine, best: int
) -> None:
    """However long nothing else was worth a trial."""
    driver = Driver()
    driver.run(before, 20.0)
    driver.run(after, 1.2)
    assert driver.mostly(0.2) == best


def test_it_does_not_go_to_and_fro() -> None:
    """Trials that fail become rare: two windows in a hundred or so."""
    driver = Driver()
    driver.run(TWO_CORES, 5.0)
    driver.run(TWO_CORES, 40.0)
    lately = driver.places[-round(40.0 / TURN) :]
    assert sum(one != other for one, other in pairwise(lately)) <= 2 * 20


def test_what_a_change_brings_at_once_is_no_gain() -> None:
    """More requests bring their first answers early, and fewer late; afterwards it is the same."""
    driver = Driver()
    before, changed_at, surge = REQUESTS_IN_FLIGHT, -1.0, 1.0
    for _ in range(round(5.0 / TURN)):
        places = driver.climb.places
        if places != before:
            surge = 1.15 if places > before else 0.85
            before, changed_at = places, driver.now
        factor = surge if driver.now - changed_at < WINDOW / 2 else 1.0
        driver.run(dict.fromkeys((1, 2, 4, 8), (100e3 * factor, 0.6)), TURN)
    assert driver.mostly(5.0) == REQUESTS_IN_FLIGHT


def test_one_lucky_window_changes_nothing() -> None:
    """Only who wins twice in a row stays."""
    driver, luck = Driver(), 1.2
    for _ in range(round(1.0 / TURN)):
        if luck > 1 and driver.places[-1:] == [2] and 4 in driver.places:
            luck = 1.0  # the first trial is over
        machine = {2: (100e3, 0.6), 4: (100e3 * luck, 0.6), 8: (100e3, 0.6)}
        driver.run(machine, TURN)
    trials = [len(list(run)) for places, run in groupby(driver.places) if places > 2]
    assert trials
    assert max(trials) <= 2 * WINDOW / TURN + 2


def test_where_there_is_no_crowd_the_usual_number_holds_at_once() -> None:
    """A caller who comes while one is served does not wait for it."""
    driver = Driver()
    driver.run(THREADS, 3.0)
    assert driver.climb.places == 1
    driver.run(THREADS, 2 * WINDOW, crowd=False)
    driver.places.clear()
    driver.run(THREADS, 3.0, crowd=False)
    assert set(driver.places) == {REQUESTS_IN_FLIGHT}


def test_a_crowd_that_comes_back_after_a_pause_finds_what_was_found() -> None:
    """Though it is too short each time to find it; the pause itself is no measure."""
    driver = Driver()
    driver.run(CONTENDED, 3.0)
    driver.places.clear()
    for _ in range(10):
        driver.now += 60.0
        driver.run(CONTENDED, 3 * WINDOW)
    assert driver.mostly(10 * 3 * WINDOW) == 1


@pytest.mark.parametrize("windows", [4, 7, 20])
def test_short_bursts_are_enough_to_find_a_better_number(windows: int) -> None:
    """A trial goes on after a pause."""
    driver = Driver()
    driver.run(CONTENDED, 3.0)
    assert driver.climb.places == 1
    for _ in range(300):
        driver.now += 0.5
        driver.run(TWO_CORES, windows * WINDOW)
    assert driver.mostly(20 * windows * WINDOW) == 2


def test_a_neighbour_who_comes_and_goes_costs_little() -> None:
    """Not every change of who else is busy is another load."""
    driver = Driver()
    chance, rate = random.Random(1), 0.0
    for _ in range(2000):
        serving = 0.7 if chance.random() < 0.5 else 0.5
        machine = {1: (75e3, 0.6, serving), 2: (100e3, 0.6, serving), 4: (85e3, 0.6, serving)}
        rate += driver.run(machine, WINDOW) / 2000
    assert rate >= 0.97 * 100e3


TIMES = st.floats(0.0, 1.0)


@given(st.lists(st.tuples(TIMES, TIMES, st.integers(0, 10_000), st.booleans())), TIMES)
def test_whatever_is_measured_some_requests_may_leave(
    turns: list[tuple[float, float, int, bool]], round_trip: float
) -> None:
    """A power of two, and not too many."""
    cpu, now = 0.0, 0.0
    climb = Climb(lambda: cpu)
    for seconds, work, callers, full in turns:
        now, cpu = now + seconds, cpu + work
        climb.full |= full
        climb.served(callers, now - seconds / 2, now, round_trip)
        assert climb.places in {1, 2, 4, MOST}


class Factory(Simulation):
    """A simulation whose broker and worker take time for each request, on so many cores."""

    def __init__(self, *, cores: int, service: float, per_id: float, per_request: float) -> None:
        super().__init__(round_trip=0.0005)
        self.free_at = deque([0.0] * cores)
        self.service, self.per_id, self.per_request = service, per_id, per_request
        self.worked = 0.0
        self.climb = Climb(lambda: self.worked)
        self.batcher._pace = Pace(self.climb)

    def add(self, call: BatchRequest) -> bytes:
        self.requests += 1
        self.asked.append(call)
        del self.asked[:-10]  # all of them would be a million calls to keep
        done = max(self.free_at.popleft(), self.now) + self.service
        self.free_at.append(done)
        self.at(done + self.distance, lambda: self.come(call))
        return b"%d" % self.requests

    def come(self, call: BatchRequest) -> None:
        self.work(self.per_request + call.batch.size * self.per_id)
        self.answer_to(call)

    def work(self, seconds: float) -> None:
        self.now += seconds
        self.worked += seconds


@pytest.mark.long
@pytest.mark.parametrize(
    ("cores", "service", "per_id", "best"),
    [(1, 0.0010, 8e-6, 2), (8, 0.0010, 4e-6, 4)],
)
def test_on_a_simulated_machine_it_gets_what_the_best_number_gets(
    cores: int, service: float, per_id: float, best: int
) -> None:
    """256 callers: where broker and worker share a core, and where they have eight."""
    rates = {}
    for number in (0, 1, 2, 4):
        world = Factory(cores=cores, service=service, per_id=per_id, per_request=100e-6)
        if number:
            world.climb.places, world.climb.served = number, lambda *_: None  # type: ignore[method-assign]
        for _ in range(256):
            world.again_and_again("a")
        begun, ended = (0.05, 0.2) if number else (0.6, 1.0)  # one that is fixed goes evenly
        world.run(begun)
        world.latencies.clear()
        world.run(ended)
        rates[number] = len(world.latencies) / (ended - begun)
    assert max((1, 2, 4), key=rates.__getitem__) == best
    assert rates[0] >= 0.95 * rates[best]


def test_many_callers_travel_in_pieces_that_fit_a_cache() -> None:
    """Of callers, that is: who wants many ids costs no more than who wants one."""
    world = Simulation(0.0005)
    for _ in range(4 * LARGEST_PIECE):
        world.ask()
    world.turn()
    assert [call.batch.size for call in world.asked] == [LARGEST_PIECE] * REQUESTS_IN_FLIGHT
    world = Simulation(0.0005)
    for _ in range(10):
        world.ask(count=LARGEST_PIECE)
    world.turn()
    assert sum(call.batch.size for call in world.asked) == 10 * LARGEST_PIECE


def test_groups_come_together_where_places_are_fewer() -> None:
    """And have equal shares: whoever waits for a place leaves with those who come back."""
    world = Factory(cores=8, service=0.001, per_id=4e-6, per_request=100e-6)
    world.climb.served = lambda *_: None  # type: ignore[method-assign]
    world.climb.places = 4
    for _ in range(256):
        world.again_and_again("a")
    world.run(0.02)
    assert {call.batch.size for call in world.asked[-8:]} == {64}
    for places, share, until in ((2, 128, 0.04), (1, 256, 0.07)):
        world.climb.places = places
        world.run(until)
        assert {call.batch.size for call in world.asked[-8:]} == {share}


def test_a_far_broker_is_no_matter_of_trials() -> None:
    """There it is time that is shared out: what was found near does not hold."""
    climb = Climb()
    pace = Pace(climb)
    climb.places = 1
    pace.came_back(0.04, alone=True)
    assert pace.places(0) == FAR
    pace.served(100, 0.0, 1.0)
    assert climb.places == 1
