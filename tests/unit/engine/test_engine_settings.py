"""What a tag's settings change in the engine: the size of its segments, and where its ids end."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idalloc_schemas import MAX_ID, RespCode
from tests.engine_driver import Call, Driver, Row

TICK = 0.01  # seconds between the bursts of a simulated load


def driver(step: int = 100, target_cover: float = 600.0, ceiling: int | None = None) -> Driver:
    return Driver(rows={"order": Row(step, target_cover=target_cover, ceiling=ceiling)})


class Load:
    """Callers at a given rate, and a database that takes its time."""

    def __init__(self, d: Driver, refill_time: float = 0.2) -> None:
        self.d = d
        self.refill_time = refill_time
        self.owed = 0.0

    def run(self, rate: float, seconds: float, count: int = 1) -> list[Call]:
        """Ask for `rate` ids per second; return the requests that did not get theirs at once."""
        waited = []
        end = self.d.now + seconds
        while self.d.now < end:
            self.owed += rate * TICK
            while self.owed >= count:
                self.owed -= count
                call = self.d.ask(count=count)
                if call.waiting or not isinstance(call.outcome, tuple):
                    waited.append(call)
            self.d.advance(TICK)
            started = {refill.attempt: at for at, refill in self.d.started[-2:]}
            if self.d.refills and self.d.now - started[self.d.refills[0].attempt] >= (
                self.refill_time
            ):
                self.d.reserve()
        return waited

    def refills_since(self, start: float) -> int:
        return sum(at >= start for at, _ in self.d.started)


# Size


@pytest.mark.parametrize(("rate", "count"), [(50, 1), (2000, 1), (30_000, 20), (100_000, 5000)])
def test_a_steady_load_from_cold(rate: float, count: int) -> None:
    """After a minute nobody waits any more, and refills are rare, whatever the step was."""
    d = driver()
    load = Load(d)
    load.run(rate, 30, count)
    middle = d.now
    assert load.run(rate, 30, count) == []
    assert load.refills_since(middle) <= 3


def test_a_burst_on_a_cold_tag_waits_a_few_times_only() -> None:
    """A tag with step 100 at 20,000 ids per second is out of the woods after six refills."""
    d = driver()
    load = Load(d)
    load.run(20_000, 20, count=20)
    assert len(d.started) <= 7
    assert load.run(20_000, 100, count=20) == []


def test_the_ids_in_memory_last_as_long_as_the_row_asks_for() -> None:
    """In the steady state two segments are the target's worth, and one is half of it."""
    d = driver(step=10, target_cover=20)
    load = Load(d)
    load.run(100, 100)
    before = len(d.started)
    start = d.now
    load.run(100, 200)
    assert 18 <= len(d.started) - before <= 22  # one in ten seconds
    assert 900 <= d.health().left <= 2100
    assert d.rows["order"].max_id <= 100 * (d.now - start + 130)


def test_the_cover_is_told() -> None:
    """The rate of now, and how long the ids in memory last at it."""
    d = driver(step=1000, target_cover=0)
    load = Load(d)
    load.run(100, 15)
    pool = next(iter(d.engine.by_tag.values()))
    assert pool.rate(d.now) == pytest.approx(100, rel=0.1)
    assert pool.cover(d.now) == pytest.approx(pool.remaining / 100, rel=0.1)
    health = d.health()
    assert health.rate == pytest.approx(pool.rate(d.now), abs=0.001)
    assert health.cover == pytest.approx(pool.cover(d.now), abs=0.001)
    assert health.refills == (health.ids_handed_out + health.left + 1) // 1000  # id 0 is not one
    d.advance(1e9)
    assert pool.cover(d.now) > 1e6
    assert (d.health().rate, d.health().cover) == (0, None)


def test_a_tag_that_nobody_asked_for_has_no_cover() -> None:
    """It is cold: there is nothing that could run out."""
    health = driver().health()
    assert (health.state, health.rate, health.cover, health.healthy) == ("cold", 0, None, True)


def test_a_tag_that_is_used_once_a_day_stays_small() -> None:
    """A few ids a day do not make it reserve more than its step."""
    d = driver(step=10)
    for _ in range(100):
        for _ in range(3):
            d.get()
        d.advance(86_400)
    assert d.rows["order"].max_id <= 300 + 20


def test_a_daily_burst_costs_little_more_than_it_uses() -> None:
    """What a burst makes the tag reserve is of the size of the burst."""
    d = driver()
    load = Load(d)
    for _ in range(10):
        load.run(1000, 5)
        d.advance(86_400)
    assert d.rows["order"].max_id <= 10 * 5000 * 4


def test_the_first_segment_of_the_morning_is_not_sized_for_the_night() -> None:
    """After a night without a request the day goes on without a wait."""
    d = driver()
    load = Load(d, refill_time=1.5)
    load.run(1000, 700, count=10)
    d.advance(40_000)
    assert load.run(5000, 300, count=10) == []


def test_a_quiet_tag_becomes_small_again() -> None:
    """At a low rate each segment is half of the one before, until it is a step."""
    d = driver(step=10, target_cover=10)
    load = Load(d)
    load.run(1000, 30)
    d.advance(3600)
    load.run(1, 3600 * 4)
    assert [right - left for left, right in d.health().segments][1] <= 10


def test_one_large_batch_makes_no_large_segments() -> None:
    """A million ids at once on a quiet tag: what is reserved beyond them is next to nothing."""
    d = driver()
    for _ in range(5):
        d.get()
        d.advance(60)
    mark = d.rows["order"].max_id
    d.get(count=1_000_000)
    assert d.rows["order"].max_id <= mark + 1_000_000 + 10_000


def test_million_id_batches_are_served_from_memory_in_the_end() -> None:
    """Who asks for a million again and again need not wait for each."""
    d = driver()
    load = Load(d)
    load.run(100_000, 200, count=1_000_000)
    assert load.run(100_000, 200, count=1_000_000) == []


def test_a_clock_that_leaps_costs_no_wait() -> None:
    """A process that was stopped for an hour goes on with ids in memory."""
    d = driver()
    load = Load(d)
    load.run(1000, 60)
    d.now += 3600
    assert load.run(1000, 60) == []


@given(
    rates=st.lists(st.sampled_from([0, 1, 20, 200, 2000]), min_size=1, max_size=6),
    factor=st.sampled_from([1, 3, 10]),
    seed=st.integers(0, 99),
)
@settings(max_examples=15, deadline=None)
def test_after_a_warm_up_nobody_waits(rates: list[int], factor: int, seed: int) -> None:
    """Whatever the load was like, one that is known is answered from memory, bursts included."""
    d = driver(step=1000)
    load = Load(d, refill_time=1.5)
    chance = random.Random(seed)
    load.run(max(rates), 30)
    waited = []
    for rate in rates:
        waited += load.run(rate, chance.uniform(1, 60))
        waited += load.run(rate * factor, chance.uniform(1, 10))
    assert waited == []


# The end of the space


def ids_of(d: Driver, count: int = 1) -> list[int]:
    """Ask until there is no more."""
    taken: list[int] = []
    while isinstance((call := d.get(count=count)).outcome, tuple):
        for left, right in call.ranges:
            taken += range(left, right)
    assert call.code is RespCode.EXHAUSTED
    return taken


@pytest.mark.parametrize("step", [1, 7, 10, 1000])
def test_every_id_up_to_the_ceiling_is_handed_out_and_none_above_it(step: int) -> None:
    """The last segment is as small as it has to be."""
    assert ids_of(driver(step, ceiling=25)) == list(range(1, 26))


def test_the_end_of_the_column_is_the_end_without_a_ceiling() -> None:
    """A tag near 2^63 hands out the last ids, and then it is exhausted."""
    d = driver(10)
    d.rows["order"].max_id = MAX_ID - 5
    assert ids_of(d) == list(range(MAX_ID - 5, MAX_ID))


def test_a_ceiling_that_was_lowered_below_the_mark() -> None:
    """From the next refill on ids in memory above it are lost, and counted so."""
    d = driver(10, target_cover=0)
    d.get(count=8)  # leaves 9, and 10 to 19
    d.rows["order"].ceiling = 12
    assert d.get(count=1).id == 9
    assert ids_of(d) == [10, 11, 12]
    assert d.health().ids_lost == 7
    pool = next(iter(d.engine.by_tag.values()))
    assert pool.reserved == pool.handed_out + pool.remaining + pool.lost


def test_a_ceiling_below_what_was_handed_out_ends_the_tag() -> None:
    """Nothing in memory survives, and nobody gets an id."""
    d = driver(10, target_cover=0)
    d.get(count=8)
    d.rows["order"].ceiling = 3
    d.get(count=1)
    assert d.get().code is RespCode.EXHAUSTED
    assert d.health().left == 0


def test_a_raised_ceiling_ends_the_exhaustion() -> None:
    """The row is looked at again within a second or so."""
    d = driver(10, ceiling=25)
    ids_of(d)
    d.rows["order"].ceiling = 40
    d.advance(1)
    assert d.get().id == 26


def test_thresholds_are_told_once_each() -> None:
    """At 50, 80 and 95 % of the space, and not again for the same one."""
    d = driver(1, target_cover=0, ceiling=99)
    told = []
    for _ in range(99):
        d.get()
        if (used := d.engine.by_tag["order"].space_warning()) is not None:
            told.append((used.mark, used.threshold))
    assert told == [(50, 50), (80, 80), (95, 95)]


def test_a_worker_that_starts_late_tells_the_highest_threshold_only() -> None:
    """Above 80 % from the start, it does not tell of 50 %; a raised ceiling starts anew."""
    d = driver(1, target_cover=0, ceiling=999)
    d.rows["order"].max_id = 850
    d.get()
    assert d.engine.by_tag["order"].space_warning() is not None
    assert d.engine.by_tag["order"].space_warning() is None
    d.rows["order"].ceiling = 9999
    d.get()
    assert d.engine.by_tag["order"].space_warning() is None
    d.rows["order"].ceiling = 999
    d.get()
    used = d.engine.by_tag["order"].space_warning()
    assert used is not None
    assert used.threshold == 80
