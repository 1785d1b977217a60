"""Making a tag's row, with the refill threads as a fake."""

from collections.abc import Callable
from typing import Any

import pytest

from idalloc_worker.counters._registry import Event
from idalloc_worker.store._new_rows import NewRow, Templates
from idalloc_worker.store._threads import Job
from idalloc_worker.tags._errors import (
    NewTagForbiddenError,
    StoreReason,
    StoreUnavailableError,
    TagNotFoundError,
    TooManyNewTagsError,
)
from idalloc_worker.tags._settings import TagSettings
from idalloc_worker.templates._new_tags import NewTags
from idalloc_worker.templates._periods import PeriodTags
from idalloc_worker.templates._watch import TemplateWatch
from tests.runtimes import runtime

PATTERN = TagSettings(step=10, new_per_minute=3)
DOWN = StoreUnavailableError(StoreReason.UNREACHABLE, "down")


class Bench:
    """New tags in surroundings that do what the test says; the table has one pattern."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.later: list[Callable[[], None]] = []
        self.patterns = {"tenant-*": PATTERN}
        self.made: list[tuple[str, str]] = []
        self.rows: set[str] = set()
        self.ended: list[str | Exception] = []
        around = runtime(link=self, refill_threads=self)
        self.counters = around.counters.events
        watch = TemplateWatch(around)
        self.periods = PeriodTags(around, watch, lambda _row: None, lambda _row: 0)
        self.new_tags = NewTags(around, watch, self.periods)

    def run(self, job: Job) -> None:
        self.jobs.append(job)

    def call_later(self, _delay: float, callback: Callable[[], None]) -> None:
        self.later.append(callback)

    def templates(self) -> Templates:
        return Templates(self.patterns)

    def add_row(self, row: NewRow) -> bool:
        self.made.append((row.app_tag, row.template))
        new = row.app_tag not in self.rows
        self.rows.add(row.app_tag)
        return new

    def work(self, error: Exception | None = None) -> None:
        """Have a refill thread do what is queued, and what follows from it."""
        store: Any = self
        while self.jobs:
            job = self.jobs.pop(0)
            job.report(error or job.work(store))

    def make(self, app_tag: str, user: str | None = "shop") -> None:
        made: Callable[[], None] = lambda: self.ended.append(app_tag)  # noqa: E731
        self.new_tags.make(app_tag, {user}, made, self.ended.append)


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    bench.work()
    return bench


def test_a_tag_is_made_after_its_pattern(bench: Bench) -> None:
    bench.make("tenant-1")
    assert not bench.ended
    bench.work()
    assert bench.made == [("tenant-1", "tenant-*")]
    assert bench.ended == ["tenant-1"]
    assert bench.counters[Event.TAGS_MADE] == 1


def test_one_that_somebody_else_made_is_as_good(bench: Bench) -> None:
    bench.rows.add("tenant-1")
    bench.make("tenant-1")
    bench.work()
    assert bench.ended == ["tenant-1"]
    assert bench.counters[Event.TAGS_MADE] == 0


def test_a_name_without_a_pattern_costs_the_database_nothing(bench: Bench) -> None:
    bench.make("order")
    assert isinstance(bench.ended[0], TagNotFoundError)
    assert not bench.jobs


def test_nobody_has_no_tag_made(bench: Bench) -> None:
    """A refill ahead; somebody who asks may."""
    bench.new_tags.make("tenant-1", (), lambda: None, bench.ended.append)
    assert isinstance(bench.ended[0], NewTagForbiddenError)
    assert not bench.jobs


def test_nor_does_one_too_many(bench: Bench) -> None:
    for number in range(50):
        bench.make(f"tenant-{number}")
    assert len(bench.jobs) <= 4
    assert isinstance(bench.ended[-1], TooManyNewTagsError)


def test_who_comes_first_waits_for_the_first_look() -> None:
    """A worker that has just started does not refuse what it would make a moment later."""
    bench = Bench()
    bench.make("tenant-1")
    bench.work()
    bench.work()
    assert bench.ended == ["tenant-1"]


def test_nobody_is_told_that_a_tag_is_missing_by_a_worker_that_could_not_look() -> None:
    bench = Bench()
    bench.make("tenant-1")
    bench.work(DOWN)
    assert bench.ended == [DOWN]
    bench.make("tenant-1")
    assert bench.ended == [DOWN]
    bench.later.pop()()
    bench.work()
    bench.work()
    assert bench.ended == [DOWN, "tenant-1"]


def test_patterns_stay_known_while_the_database_is_away(bench: Bench) -> None:
    bench.later.pop()()
    bench.work(DOWN)
    bench.make("tenant-1")
    bench.work()
    assert bench.ended == ["tenant-1"]


def test_a_pattern_that_is_gone_makes_no_more(bench: Bench) -> None:
    bench.patterns.clear()
    bench.later.pop()()
    bench.work()
    bench.make("tenant-1")
    assert isinstance(bench.ended[0], TagNotFoundError)


def test_a_failure_is_told(bench: Bench) -> None:
    bench.make("tenant-1")
    bench.work(DOWN)
    assert bench.ended == [DOWN]
