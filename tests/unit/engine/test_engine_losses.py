"""Refills that cost ids and bring none: the engine asks for little, and seldom if it can wait."""

from dataclasses import dataclass
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from idalloc_worker.engine._effects import StartRefill
from idalloc_worker.engine._engine import EngineLimits
from idalloc_worker.tags._step_size import NO_DEMAND, first_part, reservation_size
from tests.engine_driver import Driver, Row

STEP = 1000
RATE = 34_000  # ids per second
TICK = 0.01
BEFORE, OUTAGE = 10.0, 22.0
BAR = 5
"""So many times the ids of the ten seconds before may be lost in the outage."""


@dataclass
class Losses:
    """Counts what a database takes whose commits succeed and whose answers get lost."""

    driver: Driver
    ids: int = 0
    attempts: int = 0

    def strike(self) -> None:
        """Commit what waits, and let the engine give up on it or hear that nobody knows."""
        for refill in list(self.driver.refills):
            self.attempts += 1
            lost = self._commit(refill)
            self.ids += lost
            self.driver.fail(possibly_reserved=lost)

    def _commit(self, refill: StartRefill) -> int:
        row = self.driver.rows[refill.app_tag]
        size = reservation_size(row.settings, refill.demand, refill.want, row.space)
        lost = first_part(row.settings, refill.want, size)  # the rest waits for its answer
        row.max_id += lost
        return lost


def draw(d: Driver, seconds: float) -> int:
    """Ask steadily; tell how many ids came."""
    calls = []
    for _ in range(round(seconds / TICK)):
        calls.append(d.ask(count=round(RATE * TICK)))
        d.advance(TICK)
    return sum(call.count for call in calls if isinstance(call.outcome, tuple))


def at_work(step: int = STEP, target_cover: float = 600.0) -> tuple[Driver, int]:
    """Make an engine that has served for ten seconds; also tells how many ids that took."""
    d = Driver(EngineLimits(wait_timeout=5), rows={"order": Row(step, target_cover=target_cover)})
    drawn = 0
    for _ in range(round(BEFORE / TICK)):
        drawn += draw(d, TICK)
        d.settle()
    while not d.refills:  # until a segment has come to its end
        draw(d, TICK)
    return d, drawn


def test_lost_answers_cost_little_while_memory_lasts() -> None:
    """22 seconds of them burn a few steps, and callers notice nothing."""
    d, before = at_work()
    losses = Losses(d)
    drawn = 0
    for _ in range(round(OUTAGE / TICK)):
        drawn += draw(d, TICK)
        losses.strike()
    assert drawn == round(OUTAGE * RATE)
    assert losses.attempts > 1
    assert losses.ids <= BAR * before / 10


def test_lost_answers_cost_little_where_nothing_is_left() -> None:
    """Where callers wait, each try is for them and one step at most, at the usual pace."""
    d, before = at_work(step=10_000, target_cover=0)
    losses = Losses(d)
    for _ in range(round(OUTAGE / TICK)):
        draw(d, TICK)
        losses.strike()
    assert losses.attempts >= OUTAGE / 2
    assert losses.ids <= BAR * before


def test_after_a_success_segments_are_as_large_as_before() -> None:
    """One answer that comes ends it, and what was put off is done at once."""
    d, _ = at_work()
    usual = d.refills[0].demand.previous
    assert usual > 8 * STEP
    d.fail(possibly_reserved=5)
    while not d.refills:
        draw(d, TICK)
    d.reserve()
    [refill] = d.refills
    assert refill.demand.previous == usual
    assert refill.demand.rate > 0
    d.reserve()
    assert not d.refills


def test_a_fixed_step_is_not_caught_up_with() -> None:
    """Where each segment is one step, the careful one was no smaller."""
    d = Driver(rows={"order": Row(100)})
    d.get()
    d.ask(count=150)
    d.fail(possibly_reserved=100)
    d.advance(1)
    d.ask()
    d.reserve()
    assert not d.refills


def test_pauses_grow_and_leave_time_for_the_last_ids() -> None:
    """Ever longer while much is left; never longer than a quarter of what that covers."""
    d = Driver(rows={"order": Row(step=100_000)})
    d.get()
    starts = []
    while d.health().left > 1000:
        d.ask(count=100)
        d.advance(0.1)  # 1000 ids/s
        if d.refills:
            starts.append((d.now, d.health().left / 1000))
            d.fail(possibly_reserved=100_000)
    pauses = [later - now for (now, _), (later, _) in pairwise(starts)]
    assert max(pauses) > 10
    for (_, cover), pause in zip(starts, pauses, strict=False):
        assert pause <= max(cover / 4, d.limits.backoff_cap) + 0.2


def test_whoever_waits_is_not_kept_by_a_long_pause() -> None:
    """A request that the memory cannot serve starts a refill as soon as ever."""
    d = Driver(rows={"order": Row(step=100_000)})
    d.get()
    for _ in range(8):
        while not d.refills:
            d.advance(1)
            d.ask()
        d.fail(possibly_reserved=1000)
    d.advance(2 * d.limits.backoff_cap)
    d.ask()
    assert not d.refills
    call = d.ask(count=150_000)
    d.settle()
    assert call.ranges


def test_a_tag_that_was_forgotten_begins_with_care() -> None:
    """Nothing is kept of a tag that never had a segment but that its refills failed."""
    d = Driver(rows={"order": Row(100, target_cover=600)})
    d.ask(count=50, patience=1)
    d.advance(3)
    d.fail()
    assert d.abandoned
    assert "order" not in d.engine.by_tag
    d.ask(count=50)
    d.advance(1.5)
    d.ask(count=500)
    d.fail()
    d.advance(0.3)
    [refill] = d.refills
    assert (refill.demand, refill.want) == (NO_DEMAND, 550)


ACTIONS = st.one_of(
    st.tuples(st.just("ask"), st.integers(1, 3000)),
    st.tuples(st.just("wait"), st.floats(0.01, 5)),
    st.tuples(st.sampled_from(["lose", "fail", "answer"]), st.just(0)),
)


@dataclass
class Wary:
    """Does what it is told, and looks at each refill that starts."""

    d: Driver
    costly: bool = False
    seen: int = 0

    def do(self, action: str, amount: float) -> None:
        if action == "ask":
            self.d.ask(count=int(amount))
        elif action == "wait":
            self._wait(amount)
        elif self.d.refills:
            self._end(action)
        self.look()

    def _wait(self, seconds: float) -> None:
        end = self.d.now + seconds
        while self.d.engine.next_wakeup <= end:
            abandoned = len(self.d.abandoned)
            self.d.advance(max(self.d.engine.next_wakeup - self.d.now, 0))
            self.costly = self.costly or len(self.d.abandoned) > abandoned
            self.look()
        self.d.now = end

    def _end(self, action: str) -> None:
        current = self.d.refills[0].attempt not in self.d.abandoned
        if action == "answer":
            accepted = self.d.reserve()
            self.costly = self.costly and not accepted
        else:
            # What starts at once upon the failure knows of it already.
            self.costly = self.costly or (current and action == "lose")
            self.d.fail(possibly_reserved=100 if action == "lose" else 0)

    def look(self) -> None:
        """See that it is as small as it can be, if the last ones cost ids."""
        for _, refill in self.d.started[self.seen :]:
            assert not self.costly or refill.demand == NO_DEMAND
        self.seen = len(self.d.started)
        for pool in self.d.engine.by_tag.values():
            if pool.waiters and pool.attempt is None:
                assert self.d.engine.next_wakeup <= self.d.now + self.d.limits.backoff_cap


@given(st.lists(ACTIONS, max_size=60), st.sampled_from([0.0, 600.0]))
def test_no_refill_is_larger_than_it_must_be_until_one_succeeds(
    actions: list[tuple[str, float]], target_cover: float
) -> None:
    """Whatever happens between: what is waited for or one step, and rests only for nobody."""
    wary = Wary(Driver(rows={"order": Row(100, target_cover=target_cover)}))
    for action, amount in actions:
        wary.do(action, amount)
