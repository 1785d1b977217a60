"""Looks at the table: at intervals, and when somebody asks."""

from collections.abc import Callable
from typing import Any

from idalloc_worker.store._new_rows import Templates
from idalloc_worker.store._threads import Job
from idalloc_worker.templates._watch import LOOK_INTERVAL, TemplateWatch
from tests.runtimes import runtime


class Bench:
    """A watch whose looks end when the test says so."""

    def __init__(self) -> None:
        self.now = 100.0
        self.jobs: list[Job] = []
        self.later: list[tuple[float, Callable[[], None]]] = []
        self.found: list[Templates] = []
        self.told: list[Exception | None] = []
        around = runtime(link=self, refill_threads=self, clock=lambda: self.now)
        self.watch = TemplateWatch(around)
        self.watch.on_found.append(self.found.append)

    def run(self, job: Job) -> None:
        self.jobs.append(job)

    def call_later(self, delay: float, callback: Callable[[], None]) -> None:
        self.later.append((delay, callback))

    def templates(self) -> Templates:
        return Templates({})

    def end(self, error: Exception | None = None) -> None:
        (job,) = self.jobs
        self.jobs.clear()
        store: Any = self
        job.report(error or job.work(store))

    def ask(self) -> None:
        self.watch.look_for(self.told.append)


def test_it_begins_by_itself_and_goes_on() -> None:
    bench = Bench()
    assert not bench.watch.ready
    bench.end()
    assert (bench.watch.ready, len(bench.found)) == (True, 1)
    ((delay, callback),) = bench.later
    assert 0.9 * LOOK_INTERVAL <= delay <= LOOK_INTERVAL
    callback()
    bench.end()
    assert len(bench.found) == 2


def test_a_look_that_takes_long_is_rare() -> None:
    """It has one hundredth of the time at most."""
    bench = Bench()
    bench.now += 2.0
    bench.end()
    ((delay, _),) = bench.later
    assert delay >= 180.0


def test_a_failure_is_no_look() -> None:
    bench = Bench()
    bench.end(TimeoutError("down"))
    assert (bench.watch.ready, bench.found) == (False, [])
    assert len(bench.later) == 1


def test_who_asks_is_told_after_a_look_that_began_later() -> None:
    """What a look found that was under way may have been read before the question."""
    bench = Bench()
    bench.ask()
    bench.ask()
    bench.end()
    assert bench.told == []
    bench.end()
    assert bench.told == [None, None]
    assert bench.jobs == []


def test_who_asks_is_told_of_a_failure() -> None:
    bench = Bench()
    bench.end()
    error = TimeoutError("down")
    bench.ask()
    bench.end(error)
    assert bench.told == [error]


def test_a_look_that_is_due_while_somebody_looks_is_not_lost() -> None:
    bench = Bench()
    bench.end()
    ((_, callback),) = bench.later
    bench.later.clear()
    bench.ask()
    callback()
    bench.end()
    assert (len(bench.jobs), len(bench.later)) == (0, 1)
