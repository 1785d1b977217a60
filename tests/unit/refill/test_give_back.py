"""What a stop does with the ids that are left: each is counted once, and no counter ever falls."""

from collections.abc import Callable
from typing import Any

import pytest

from idalloc_worker.counters._registry import Event
from idalloc_worker.engine._pool import TagPool
from idalloc_worker.refill._give_back import GiveBacks
from idalloc_worker.store._threads import GiveBack
from idalloc_worker.tags._errors import OutcomeUnknownError, StoreReason
from idalloc_worker.tags._segment import Segment
from tests.runtimes import runtime


class FakeFleet:
    """Confirms at once."""

    def __init__(self, *, speaking: bool = True, unprotected: bool = False) -> None:
        self.speaking = speaking
        self.unprotected = unprotected
        self.surrendered: list[tuple[str, int, int]] = []
        self.rests: list[int] = []
        self.kept: list[tuple[str, int, int]] = []

    def surrender(
        self, app_tag: str, left: int, right: int, rest: int, on_told: Callable[[], None]
    ) -> None:
        self.surrendered.append((app_tag, left, right))
        self.rests.append(rest)
        on_told()

    def keep(self, app_tag: str, left: int, right: int) -> None:
        self.kept.append((app_tag, left, right))


class FakeRefillThreads:
    """Keeps what it is to do."""

    def __init__(self) -> None:
        self.jobs: list[GiveBack] = []

    def give_back(self, job: GiveBack) -> None:
        self.jobs.append(job)

    def answer(self, outcome: bool | Exception) -> None:  # noqa: FBT001  # as the real one
        self.jobs.pop(0).report(outcome)


class Stop:
    """A stop of a worker that holds some tags."""

    def __init__(self, fleet: FakeFleet, *pools: TagPool) -> None:
        self.fleet, self.refill_threads = fleet, FakeRefillThreads()
        self.done = 0
        self.pools = pools
        around = runtime(refill_threads=self.refill_threads)
        self.counters = around.counters.events
        shown: Any = fleet
        self._give_backs = GiveBacks(shown, around)

    def start(self) -> None:
        self._give_backs.start(self.pools, self._on_done)

    def give_up(self) -> None:
        self._give_backs.give_up(self._on_done)

    def _on_done(self) -> None:
        self.done += 1


def tag_pool(*segments: tuple[int, int], app_tag: str = "order") -> TagPool:
    pool = TagPool(app_tag)
    for left, right in segments:
        pool.put(Segment(left, right))
    return pool


def books(pool: TagPool) -> tuple[int, int, int]:
    return pool.remaining, pool.lost, pool.given_back


def test_ids_that_hang_together_go_back_at_once() -> None:
    """Two segments side by side are one range; the pool knows that it is empty."""
    pool = tag_pool((10, 20), (20, 30))
    pool.take(3)
    stop = Stop(FakeFleet(), pool)
    stop.start()
    assert stop.fleet.surrendered == [("order", 13, 30)]
    assert books(pool) == (0, 0, 0)
    assert not pool.full
    stop.refill_threads.answer(outcome=True)
    assert books(pool) == (0, 0, 17)
    assert stop.done == 1


def test_what_lies_below_another_worker_goes_back_after_what_lies_above() -> None:
    """The last range first; if that fails, what is below cannot be given back any more."""
    pool = tag_pool((10, 20), (50, 60))
    stop = Stop(FakeFleet(), pool)
    stop.start()
    stop.refill_threads.answer(outcome=True)
    assert stop.fleet.surrendered == [("order", 50, 60), ("order", 10, 20)]
    assert (books(pool), stop.done) == ((0, 0, 10), 0)
    stop.refill_threads.answer(outcome=False)
    assert (books(pool), stop.done) == ((0, 10, 10), 1)
    counted = {event: count for event, count in stop.counters.items() if count}
    assert counted == {Event.GIVE_BACKS: 1, Event.GIVE_BACKS_FAILED: 1}
    assert stop.fleet.kept == [("order", 10, 20)]  # the row is to stay above it


def test_the_others_are_told_what_still_counts() -> None:
    """The end of what is held or was handed out, of both engines: an untouched segment had none."""
    pool, other = tag_pool((10, 20), (50, 60)), tag_pool((2, 8))
    stop = Stop(FakeFleet(), pool, other)
    stop.start()
    assert stop.fleet.rests == [20, 20]  # [50, 60) of the one, [2, 8) of the other
    stop.refill_threads.answer(outcome=True)
    assert stop.fleet.rests == [20, 20, 0]
    used = tag_pool((10, 20), (50, 60))
    used.take(12)
    stop = Stop(FakeFleet(), used)
    stop.start()
    assert (stop.fleet.surrendered, stop.fleet.rests) == ([("order", 52, 60)], [52])
    used_up = tag_pool((10, 20), (50, 60))
    used_up.take(10)
    stop = Stop(FakeFleet(), used_up)
    stop.start()
    assert (stop.fleet.surrendered, stop.fleet.rests) == ([("order", 50, 60)], [20])


@pytest.mark.parametrize(
    "outcome", [False, OutcomeUnknownError(StoreReason.TIMEOUT, "no answer", possibly_reserved=10)]
)
def test_what_could_not_be_given_back_is_lost(*, outcome: bool | Exception) -> None:
    """Also where it is not known, and nothing is tried again; the rest stays in memory, unused."""
    pool = tag_pool((10, 20), (50, 60))
    stop = Stop(FakeFleet(), pool)
    stop.start()
    stop.refill_threads.answer(outcome)
    assert stop.refill_threads.jobs == []
    assert (books(pool), stop.done) == ((10, 10, 0), 1)
    # Where the outcome is not known, the row may yet be lowered, and that is to be no rewind.
    assert stop.fleet.kept == ([("order", 50, 60)] if outcome is False else [])


def test_many_tags_go_back_a_few_at_a_time() -> None:
    """Each tag that ends lets another begin, and the largest come first."""
    pools = [tag_pool((10, 20 + number), app_tag=f"tag-{number}") for number in range(100)]
    stop = Stop(FakeFleet(), *pools)
    stop.start()
    assert stop.refill_threads.jobs[0].app_tag == "tag-99"
    at_once = len(stop.refill_threads.jobs)
    assert at_once < 100
    while stop.refill_threads.jobs:
        assert stop.done == 0
        assert len(stop.refill_threads.jobs) <= at_once
        stop.refill_threads.answer(outcome=True)
    assert stop.done == 1
    assert all(books(pool) == (0, 0, 10 + number) for number, pool in enumerate(pools))


def test_what_is_under_way_when_time_is_up_counts_as_lost() -> None:
    """A late success changes nothing more: a counter that fell would look like a restart."""
    pool = tag_pool((10, 20))
    stop = Stop(FakeFleet(), pool)
    stop.start()
    stop.give_up()
    assert (books(pool), stop.done) == ((0, 10, 0), 1)
    stop.refill_threads.answer(outcome=True)
    stop.give_up()
    assert (books(pool), stop.done) == ((0, 10, 0), 1)


def test_nothing_is_given_back_where_the_others_cannot_be_told() -> None:
    """Between two channels; but a worker that may never speak is alone, and lowers the row."""
    silent, alone = tag_pool((10, 20)), tag_pool((10, 20))
    stop = Stop(FakeFleet(speaking=False), silent)
    stop.start()
    assert (stop.refill_threads.jobs, stop.done) == ([], 1)
    stop = Stop(FakeFleet(speaking=False, unprotected=True), alone)
    stop.start()
    assert stop.fleet.surrendered == []
    assert len(stop.refill_threads.jobs) == 1
