"""Which rows are looked at, how many at a time, and what follows when one was set back."""

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest

from idalloc_worker._runtime import Runtime
from idalloc_worker.counters._counters import Counters
from idalloc_worker.counters._registry import Event
from idalloc_worker.marks._marks import FleetMarks
from idalloc_worker.refill._row_watch import LATEST, LOOK_INTERVAL, TAGS_AT_A_TIME, RowWatch
from idalloc_worker.store._threads import Job
from idalloc_worker.tags._plausible import LEAP
from tests.engine_driver import Driver, Row

Callback = Callable[[], None]


class FakeStore:
    """A table; it notes which rows were asked for, look by look."""

    def __init__(self) -> None:
        self.marks: dict[str, int] = {}
        self.looks: list[tuple[str, ...]] = []
        self.writable = True

    def read_marks(self, app_tags: tuple[str, ...]) -> dict[str, int]:
        self.looks.append(app_tags)
        return {tag: self.marks[tag] for tag in app_tags if tag in self.marks}

    def raise_mark(self, app_tag: str, seen: int, floor: int) -> bool:
        if not self.writable:
            raise OSError("read only")
        assert self.marks[app_tag] == seen
        self.marks[app_tag] = floor
        return True


class Bench:
    """A watch with its surroundings; jobs are run when the watch has said all it wants."""

    def __init__(self, tags: int) -> None:
        self.driver = Driver(rows={f"tag-{number}": Row(step=10) for number in range(tags)})
        self.store, self.marks, self.counters = FakeStore(), FleetMarks("me"), Counters()
        self.timers: list[tuple[float, Callback]] = []
        self.jobs: list[Job] = []
        self.on_catch_up: Callback = lambda: None
        around: Any = self
        self.watch = RowWatch(
            [self.driver.engine],
            around,  # the parts of a fleet that are used
            Runtime(around, self.post, around, self.counters, count().__next__),
        )
        for name in self.driver.rows:
            self.use(name)

    def use(self, name: str) -> None:
        """Draw from a tag, which is refilled, as the table and the fleet learn."""
        self.driver.get(name)
        mark = self.driver.engine.by_tag[name].mark
        self.store.marks[name] = mark
        self.marks.reserved("me", name, mark - 10, mark)

    def look(self) -> float:
        """Let the next look come; returns how long the one after it is away."""
        ((_, callback),) = self.timers
        self.timers.clear()
        callback()
        while self.jobs:
            self._do(self.jobs.pop(0))
        ((pause, _),) = self.timers
        return pause

    @property
    def repaired(self) -> int:
        return self.counters.events[Event.REWINDS_REPAIRED]

    # What the watch sees

    def call_later(self, delay: float, callback: Callback) -> None:
        self.timers.append((delay, callback))

    def post(self, callback: Callback) -> None:
        callback()

    def catch_up(self, on_done: Callback) -> None:
        self.on_catch_up()
        on_done()

    def run(self, job: Job) -> None:
        self.jobs.append(job)

    def _do(self, job: Job) -> None:
        result: Any
        try:
            result = job.work(self.store)  # type: ignore[arg-type]
        except OSError as error:
            result = error
        job.report(result)


def test_a_row_is_not_raised_further_than_is_plausible() -> None:
    """Others are believed on what a database can have lost; beyond it the row stays as it is."""
    bench = Bench(2)
    near, far = bench.store.marks
    bench.marks.reserved("other", near, 0, bench.store.marks[near] + LEAP)
    bench.marks.reserved("other", far, 0, bench.store.marks[far] + LEAP + 1)
    before = bench.store.marks.copy()
    bench.look()
    bench.look()
    assert bench.store.marks == {near: before[near] + LEAP, far: before[far]}
    assert (bench.repaired, bench.counters.events[Event.MARKS_IMPLAUSIBLE] > 0) == (1, True)


@pytest.mark.parametrize("tags", [1, LATEST, LATEST + 100, TAGS_AT_A_TIME - 1])
def test_few_tags_are_all_looked_at_each_time(tags: int) -> None:
    """From the second look on: the first one takes those that were reserved from last."""
    bench = Bench(tags)
    bench.look()
    for _ in range(3):
        assert bench.look() >= 0.9 * LOOK_INTERVAL
        assert set(bench.store.looks[-1]) == set(bench.driver.rows)


def test_of_many_tags_all_have_their_turn() -> None:
    """Each look reads a bounded number of rows, those that were reserved from last among them."""
    bench = Bench(3 * TAGS_AT_A_TIME)
    latest = set(list(bench.driver.rows)[-LATEST:])
    for _ in range(8):
        bench.look()
    assert all(len(look) <= TAGS_AT_A_TIME for look in bench.store.looks)
    assert all(latest <= set(look) for look in bench.store.looks)
    assert {tag for look in bench.store.looks for tag in look} == set(bench.driver.rows)


def test_a_tag_that_is_used_moves_to_the_front() -> None:
    """A failover loses the last commits, wherever the round has come to."""
    bench = Bench(3 * TAGS_AT_A_TIME)
    bench.look()
    for _ in range(3):
        bench.driver.get("tag-7", count=10)
    bench.use("tag-7")
    bench.look()
    assert bench.store.looks[-1][0] == "tag-7"


def test_tags_that_hold_nothing_are_not_looked_at() -> None:
    """Nor those that only others hold: they look by themselves."""
    bench = Bench(2)
    bench.marks.reserved("somebody", "elsewhere", 0, 10)
    bench.driver.ask("unknown")
    bench.look()
    bench.look()
    assert all(set(look) == {"tag-0", "tag-1"} for look in bench.store.looks)


def test_a_row_that_was_set_back_is_raised() -> None:
    """To the end of all that is known to be reserved, and counted."""
    bench = Bench(3)
    mark = bench.store.marks["tag-1"]
    bench.store.marks["tag-1"] = 3
    bench.marks.reserved("somebody", "tag-1", mark, mark + 100)
    bench.look()
    assert bench.store.marks["tag-1"] == mark + 100
    assert bench.repaired == 1


def test_after_a_rewind_all_tags_are_looked_at_without_a_pause() -> None:
    """A database that was set back has lost commits of others too; then the pauses are back."""
    bench = Bench(4 * TAGS_AT_A_TIME)
    bench.store.marks = dict.fromkeys(bench.store.marks, 1)
    pauses = [bench.look() for _ in range(12)]
    assert bench.repaired == 4 * TAGS_AT_A_TIME
    assert max(pauses[:5]) < 1
    assert pauses[-1] >= 0.9 * LOOK_INTERVAL
    assert min(bench.store.marks.values()) > 1


def test_a_database_that_cannot_be_repaired_is_left_in_peace() -> None:
    """Rows that stay low do not make the watch any faster."""
    bench = Bench(2 * TAGS_AT_A_TIME)
    bench.store.marks = dict.fromkeys(bench.store.marks, 1)
    bench.store.writable = False
    assert all(bench.look() > 1 for _ in range(5))
    assert not bench.repaired


def test_a_watch_that_was_stopped_looks_no_more() -> None:
    """A worker that stops lowers rows itself."""
    bench = Bench(3)
    bench.watch.stop()
    ((_, callback),) = bench.timers
    bench.timers.clear()
    callback()
    assert not bench.jobs
    assert not bench.timers


def test_a_watch_that_is_stopped_raises_nothing_that_it_found() -> None:
    """What it found may be what the worker itself is giving back by now."""
    bench = Bench(3)
    bench.store.marks["tag-1"] = 3
    bench.on_catch_up = bench.watch.stop
    bench.look()
    assert bench.store.marks["tag-1"] == 3
    assert not bench.repaired
