"""Which row a request for a tag that starts anew is drawn from."""

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from idalloc_worker.store._new_rows import Templates
from idalloc_worker.store._threads import Job
from idalloc_worker.tags._errors import StoreReason, StoreUnavailableError, TagNotFoundError
from idalloc_worker.tags._settings import TagSettings
from idalloc_worker.templates._periods import CLOCK_INTERVAL, Course, PeriodTags
from idalloc_worker.templates._watch import TemplateWatch
from tests.runtimes import runtime

MIDNIGHT = datetime(2026, 11, 26, tzinfo=UTC)
DOWN = StoreUnavailableError(StoreReason.UNREACHABLE, "down")


class Bench:
    """The database's clock and table, and the time of this process, which the test moves."""

    def __init__(self) -> None:
        self.now = 5000.0
        self.utc = MIDNIGHT - timedelta(seconds=1)
        self.rows = {"invoice": TagSettings(step=5, period="day"), "order": TagSettings(step=5)}
        self.jobs: list[Job] = []
        self.later: list[tuple[float, Callable[[], None]]] = []
        self.ended: list[str] = []
        around = runtime(link=self, refill_threads=self, clock=lambda: self.now)
        self.marks: dict[str, int] = {}
        mark_of: Callable[[str], int] = lambda row: self.marks.get(row, 0)  # noqa: E731
        self.periods = PeriodTags(around, TemplateWatch(around), self.ended.append, mark_of)
        self.work()

    def run(self, job: Job) -> None:
        self.jobs.append(job)

    def call_later(self, delay: float, callback: Callable[[], None]) -> None:
        self.later.append((delay, callback))

    def templates(self) -> Templates:
        periods = any(row.starts_anew for row in self.rows.values())
        return Templates(self.rows, self.utc if periods else None)

    def read_clock(self) -> datetime:
        return self.utc

    def work(self, error: Exception | None = None) -> None:
        store: Any = self
        while self.jobs:
            job = self.jobs.pop(0)
            job.report(error or job.work(store))

    def look_at_clock(self, error: Exception | None = None) -> None:
        (callback,) = [callback for delay, callback in self.later if delay == CLOCK_INTERVAL]
        self.later = [one for one in self.later if one[0] != CLOCK_INTERVAL]
        callback()
        self.work(error)

    def look_at_table(self, error: Exception | None = None) -> None:
        self.periods.learn("invoice", lambda *_: None)
        self.work(error)

    def row(self, app_tag: str = "invoice") -> str:
        return self.periods.drawn_from(app_tag, self.now)[0]


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_the_period_changes_while_nobody_looks_at_the_clock(bench: Bench) -> None:
    """By the monotonic clock, at the very moment."""
    assert bench.periods.drawn_from("invoice", 5000.0) == ("invoice@2026-11-25", "2026-11-25")
    assert bench.periods.drawn_from("invoice", 5000.99)[0] == "invoice@2026-11-25"
    assert bench.periods.drawn_from("invoice", 5001.0) == ("invoice@2026-11-26", "2026-11-26")


def test_other_tags_are_drawn_from_their_own_rows(bench: Bench) -> None:
    assert bench.periods.drawn_from("order", 5000.0) == ("order", None)
    assert bench.periods.drawn_from("order@2026-11-25", 5000.0) == ("order@2026-11-25", None)


def test_a_period_by_its_name(bench: Bench) -> None:
    assert bench.periods.drawn_from("invoice@2026-10-01", 5000.0) == (
        "invoice@2026-10-01",
        "2026-10-01",
    )


ENDS = ("9999-12-31", "9999-12", "9999", "0001-01-01", "0001-01", "0001", "2026-11", "2026")


@pytest.mark.parametrize("name", [f"invoice@{end}" for end in ENDS])
@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/New_York"])
def test_names_that_somebody_makes_up_cost_the_database_nothing(
    bench: Bench, name: str, zone: str
) -> None:
    """Nor the worker, also where the calendar ends."""
    bench.rows["invoice"] = TagSettings(step=5, period="day", time_zone=zone)
    bench.look_at_table()
    with pytest.raises(TagNotFoundError):
        bench.periods.new_row(name, bench.now)


@pytest.mark.parametrize(
    ("seconds", "made"),
    [
        (-1, {"25", "26"}),
        (-30, {"25"}),
        (30, {"25", "26"}),
        (120, {"26"}),
    ],
)
def test_rows_are_made_of_periods_that_may_just_have_begun_or_ended(
    bench: Bench, seconds: int, made: set[str]
) -> None:
    """The database says which; whoever waited over midnight still has the row of its period."""
    bench.utc = MIDNIGHT + timedelta(seconds=seconds)
    bench.look_at_clock()
    found = set()
    for day in ("24", "25", "26", "27"):
        with suppress(TagNotFoundError):
            row = bench.periods.new_row(f"invoice@2026-11-{day}", bench.now)
            assert row is not None
            assert row.template == "invoice"
            found.add(day)
    assert found == made
    assert bench.periods.new_row("order@2026-11-26", bench.now) is None


def test_a_period_that_has_begun_is_made_though_the_clock_is_behind(bench: Bench) -> None:
    """After a failover that lost its row: the database has to say that it has not begun there."""
    bench.utc -= timedelta(seconds=20)
    bench.look_at_clock()
    bench.periods.reserved("invoice@2026-11-26")
    assert bench.periods.new_row("invoice@2026-11-26", bench.now) is not None


def test_the_databases_clock_is_looked_at_again(bench: Bench) -> None:
    """It may have been set, or be another server's."""
    assert bench.row() == "invoice@2026-11-25"
    bench.utc += timedelta(hours=1)
    bench.look_at_clock()
    assert bench.row() == "invoice@2026-11-26"
    bench.utc += timedelta(days=1)
    bench.look_at_clock(DOWN)
    assert bench.row() == "invoice@2026-11-26"
    bench.look_at_clock()
    assert bench.row() == "invoice@2026-11-27"


def test_a_period_that_somebody_draws_from_has_begun_for_all(bench: Bench) -> None:
    """One worker may be the first to see that it is midnight; none goes back behind it."""
    bench.periods.reserved("invoice@2026-11-26")
    assert bench.row() == "invoice@2026-11-26"
    bench.periods.reserved("invoice@2026-11-24")
    bench.periods.reserved("invoice@2026-12")
    bench.periods.reserved("order@2026-11-29")
    bench.look_at_table()
    assert bench.row() == "invoice@2026-11-26"


def test_what_was_heard_before_the_tag_was_known_counts(bench: Bench) -> None:
    """A worker that has just started, or a tag that is new: its marks came first."""
    bench.rows["slip"] = TagSettings(step=5, period="day")
    bench.marks["slip@2026-11-26"] = 10
    bench.look_at_table()
    assert bench.row("slip") == "slip@2026-11-26"
    assert bench.row() == "invoice@2026-11-25"


def test_a_period_that_a_wrong_clock_began_has_not_begun(bench: Bench) -> None:
    """Once the clock is set, all go on in the present, whatever was heard of the future."""
    bench.rows["slip"] = TagSettings(step=5, period="month")
    bench.look_at_table()
    bench.marks["slip@2026-12"] = 10
    for row in ("invoice@2027-03-01", "slip@2026-12", "invoice@2026-11-26"):
        bench.periods.reserved(row)
    assert bench.row("slip") == "slip@2026-11"
    assert bench.row() == "invoice@2026-11-25"
    bench.periods.reserved("invoice@2026-11-26")
    assert bench.row() == "invoice@2026-11-26"


def test_the_clock_alone_brings_no_period_back(bench: Bench) -> None:
    """Only a period that somebody reserved from has begun: a clock that was wrong may be set."""
    bench.utc = MIDNIGHT
    bench.look_at_clock()
    assert bench.row() == "invoice@2026-11-26"
    bench.utc -= timedelta(seconds=1)
    bench.look_at_clock()
    assert bench.row() == "invoice@2026-11-25"


def test_a_row_that_has_ended_is_told_of_some_time_later(bench: Bench) -> None:
    bench.row()
    bench.now += 1.0
    bench.row()
    bench.row()
    assert bench.ended == []
    for delay, callback in bench.later:
        if delay == 60.0:
            callback()
    assert bench.ended == ["invoice@2026-11-25"]


def test_nobody_looks_at_the_clock_without_such_tags() -> None:
    bench = Bench()
    bench.rows.clear()
    bench.look_at_table()
    bench.look_at_clock()
    assert not bench.periods.known
    assert CLOCK_INTERVAL not in [delay for delay, _ in bench.later]


@pytest.mark.parametrize(
    "row",
    [
        TagSettings(step=5, period="2026-11"),
        TagSettings(step=5, period="day", new_per_minute=3),
        TagSettings(step=5),
    ],
    ids=["one period", "a pattern", "no period"],
)
def test_rows_that_do_not_start_anew(bench: Bench, row: TagSettings) -> None:
    bench.rows["other"] = row
    bench.look_at_table()
    assert set(bench.periods.known) == {"invoice"}


def test_a_name_too_long_for_its_periods_is_left_to_its_refills(bench: Bench) -> None:
    for length in (21, 22):
        bench.rows["x" * length] = TagSettings(step=5, period="day")
    bench.look_at_table()
    assert set(bench.periods.known) == {"invoice", "x" * 21}


def test_what_is_learned_of_a_tag(bench: Bench) -> None:
    """After a look that began when it was asked for."""
    told: list[tuple[Course | None, Exception | None]] = []
    bench.rows["slip"] = TagSettings(step=5, period="year")
    bench.periods.learn("slip", lambda *about: told.append(about))
    assert told == []
    bench.work()
    bench.periods.learn("order", lambda *about: told.append(about))
    bench.work()
    bench.periods.learn("later", lambda *about: told.append(about))
    bench.work(DOWN)
    assert told[0][0] is bench.periods.known["slip"]
    assert told[0][0].row == "slip@2026"
    assert told[1:] == [(None, None), (None, DOWN)]


def test_one_period_of_an_ordered_tag_is_not_asked_for(bench: Bench) -> None:
    bench.rows["ticket"] = TagSettings(step=5, period="day", ordered=True)
    bench.look_at_table()
    named = ["ticket@2026-11-25", "ticket", "invoice@2026-11-25", "order@2026-11-25"]
    assert [bench.periods.by_its_tag_only(name) for name in named] == [True, False, False, False]
