"""A refill from the engine's wish to its end, with the database and the fleet as fakes."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from idalloc_schemas import MAX_ID
from idalloc_worker.counters._registry import Event
from idalloc_worker.engine._effects import StartRefill
from idalloc_worker.marks._marks import FleetMarks, Watch
from idalloc_worker.marks._vouching import Vouching
from idalloc_worker.refill._coordinator import RefillCoordinator
from idalloc_worker.store._reservation import Reservation
from idalloc_worker.store._threads import Job, NotBegunError, RefillOutcome
from idalloc_worker.tags._errors import (
    MarksNotVouchedError,
    RewindSuspectedError,
    SegmentContestedError,
    TagNotFoundError,
)
from idalloc_worker.tags._plausible import LEAP, MarkImplausibleError
from idalloc_worker.tags._segment import Segment
from idalloc_worker.tags._settings import TagSettings
from tests.runtimes import runtime

SETTINGS = TagSettings(step=10)
REFILL = StartRefill("order", 5, 0, users=frozenset({"alice"}), attempt=1)


class FakeFleet:
    """Grants or refuses claims at once; what it was told to catch up with has been read."""

    def __init__(self) -> None:
        self.marks = FleetMarks("me")
        self.claimed: list[Segment] = []
        self.vouching = Vouching()
        self.ours: bool | None = True
        self.forgotten: list[object] = []
        self.waiting: list[Callable[[], None]] | None = None
        self.on_catch_up: Callable[[], None] = lambda: None

    def when_able(self, callback: Callable[[], None]) -> None:
        if self.waiting is None:
            callback()
        else:
            self.waiting.append(callback)

    def claim(self, watch: Watch, segment: Segment, on_done: Callable[[bool], None]) -> object:
        del watch
        self.claimed.append(segment)
        if self.ours is not None:
            on_done(self.ours)
        return segment

    def forget(self, claim: object) -> None:
        self.forgotten.append(claim)

    def catch_up(self, on_done: Callable[[], None]) -> None:
        self.on_catch_up()
        on_done()


class FakeRefillThreads:
    """Keeps what it is to do."""

    def __init__(self) -> None:
        self.requests: list[StartRefill] = []
        self.row: int | Exception = 0

    def refill(self, refill: StartRefill, report: Callable[[RefillOutcome], None]) -> None:
        self.requests.append(refill)
        self.report = report

    def run(self, job: Job) -> None:
        job.report(self.row if isinstance(self.row, Exception) else {"order": self.row})


class FakeNewTags:
    """Makes no row, or says that there is one."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, frozenset[str | None]]] = []
        self.made = False

    def make(
        self,
        app_tag: str,
        users: frozenset[str | None],
        on_made: Callable[[], None],
        on_failed: Callable[[Exception], None],
    ) -> None:
        self.asked.append((app_tag, users))
        if self.made:
            on_made()
        else:
            on_failed(TagNotFoundError(app_tag))


class Bench:
    """A coordinator with its surroundings."""

    def __init__(self) -> None:
        self.fleet, self.refill_threads = FakeFleet(), FakeRefillThreads()
        self.records: list[RefillOutcome] = []
        self.shown: list[tuple[str, float, str | None, bool]] = []
        around = runtime(refill_threads=self.refill_threads, traces=self)
        self.counters = around.counters.events
        fleet: Any = self.fleet
        self.new_tags = FakeNewTags()
        new_tags: Any = self.new_tags
        self.refills = RefillCoordinator(fleet, around, new_tags, self.records.append)

    def begin(self, *_: object) -> None:
        """Follow no request."""

    def refilled(
        self, app_tag: str, seconds: float, error: BaseException | None, *, ordered: bool
    ) -> None:
        self.shown.append(
            (app_tag, seconds, error if error is None else type(error).__name__, ordered)
        )

    def answer(self, result: Reservation | Exception, seconds: float = 0.0) -> None:
        refill = self.refill_threads.requests.pop()
        self.refill_threads.report(RefillOutcome(refill, result, seconds))


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    bench.refills.start(REFILL)
    return bench


def test_a_segment_is_claimed_before_the_engine_hears_of_it(bench: Bench) -> None:
    """One that another worker has reserved too is a failure that lost its ids."""
    bench.fleet.ours = False
    bench.answer(Reservation(Segment(10, 20), SETTINGS))
    assert bench.fleet.claimed == [Segment(10, 20)]
    (record,) = bench.records
    assert isinstance(record.result, SegmentContestedError)
    assert record.result.possibly_reserved == 10
    assert bench.counters[Event.CLAIMS_CONTESTED] == 1


def test_nothing_is_claimed_where_nothing_was_reserved(bench: Bench) -> None:
    """Those who wait may not draw: the settings go to the engine, the others hear nothing."""
    empty = Reservation(Segment(10, 10), SETTINGS)
    bench.answer(empty)
    assert bench.fleet.claimed == []
    assert [record.result for record in bench.records] == [empty]


def test_a_suspicion_is_looked_into_with_all_that_the_engine_asked_for(bench: Bench) -> None:
    """The second look names what the first one saw, and their times are one refill's."""
    bench.answer(RewindSuspectedError("order", 7, 100), 0.25)
    (again,) = bench.refill_threads.requests
    assert (again.suspected, again.users, again.want) == (7, REFILL.users, REFILL.want)
    bench.answer(Reservation(Segment(100, 110), SETTINGS, rewound_from=7), 0.5)
    (record,) = bench.records
    assert record.refill == REFILL
    assert record.seconds == pytest.approx(0.75)
    assert bench.counters[Event.REWINDS_REPAIRED] == 1


@pytest.mark.parametrize("end", [MAX_ID, 1000])
def test_a_row_is_not_raised_further_than_is_plausible(bench: Bench, end: int) -> None:
    """Nor on what is heard while it is looked into: the tag waits for an operator."""
    far = min(end, 7 + 2 * LEAP + 1) - 1
    bench.fleet.on_catch_up = lambda: bench.fleet.marks.reserved("other", "order", 0, far)
    bench.answer(RewindSuspectedError("order", 7, 100, end))
    assert [request.suspected for request in bench.refill_threads.requests] == [None]
    bench.answer(RewindSuspectedError("order", 7, far, end))
    assert bench.refill_threads.requests == []
    (record,) = bench.records
    assert isinstance(record.result, MarkImplausibleError)
    assert f"tags raise order --to {far}" in str(record.result)
    assert (bench.counters[Event.MARKS_IMPLAUSIBLE], bench.counters[Event.REWINDS_REPAIRED]) == (
        1,
        0,
    )


def test_a_row_that_others_moved_while_it_was_looked_into_is_read_again(bench: Bench) -> None:
    """One of them took most of what is left: what was read before says nothing about that."""
    bench.fleet.on_catch_up = lambda: bench.fleet.marks.reserved("other", "order", 0, 900)
    bench.answer(RewindSuspectedError("order", 7, 100, 1000))
    bench.answer(Reservation(Segment(900, 910), SETTINGS))
    (record,) = bench.records
    assert isinstance(record.result, Reservation)
    assert bench.counters[Event.MARKS_IMPLAUSIBLE] == 0


def test_what_cannot_be_claimed_is_not_reserved() -> None:
    """It waits until the others can be told; given up before, it has cost nothing."""
    bench = Bench()
    bench.fleet.waiting = []
    bench.refills.start(REFILL)
    assert bench.refill_threads.requests == []
    bench.fleet.marks.reserved("other", "order", 0, 40)
    (go_on,) = bench.fleet.waiting
    go_on()
    assert bench.refill_threads.requests[0].floor == 40  # of what was heard meanwhile
    bench.refills.start(replace(REFILL, attempt=2))
    bench.refills.abandon(2)
    (record,) = bench.records
    assert isinstance(record.result, NotBegunError)
    bench.fleet.waiting[1]()
    assert len(bench.refill_threads.requests) == 1


def test_a_repair_that_cannot_be_claimed_is_not_made(bench: Bench) -> None:
    """The second look waits until the others can be told, as the first one does."""
    bench.fleet.waiting = []
    bench.answer(RewindSuspectedError("order", 7, 100))
    assert bench.refill_threads.requests == []
    bench.fleet.marks.reserved("other", "order", 0, 200)
    bench.fleet.waiting[0]()
    (again,) = bench.refill_threads.requests
    assert (again.suspected, again.floor) == (7, 200)


def test_a_claim_that_is_given_up_is_recorded_with_what_it_had(bench: Bench) -> None:
    """The engine counts its ids as lost: they are reserved."""
    bench.fleet.ours = None
    reservation = Reservation(Segment(10, 20), SETTINGS)
    bench.answer(reservation)
    assert bench.records == []
    bench.refills.abandon(1)
    assert bench.fleet.forgotten == [Segment(10, 20)]
    assert [record.result for record in bench.records] == [reservation]


def test_a_tag_that_nobody_vouches_for_waits_for_an_operator() -> None:
    """Its row is read, and nothing is reserved until it was raised."""
    bench = Bench()
    bench.fleet.vouching = Vouching(60.0)
    marks: list[int | Exception] = [700, 700, OSError("away"), 701]
    for attempt, mark in enumerate(marks, 1):
        bench.refill_threads.row = mark
        bench.refills.start(replace(REFILL, attempt=attempt))
    outcomes = [type(record.result) for record in bench.records]
    assert outcomes == [MarksNotVouchedError, MarksNotVouchedError, OSError]
    assert [request.attempt for request in bench.refill_threads.requests] == [4]


def test_a_row_that_keeps_moving_ends_the_attempt(bench: Bench) -> None:
    """No attempt goes on for ever; the engine tries again later."""
    looks = 0
    while bench.refill_threads.requests:
        bench.answer(RewindSuspectedError("order", looks, 100))
        looks += 1
        assert looks < 20
    (record,) = bench.records
    assert isinstance(record.result, RewindSuspectedError)
    assert bench.counters[Event.REWINDS_REPAIRED] == 0


def test_each_look_at_the_row_is_shown_for_itself(bench: Bench) -> None:
    """With the time that it took: what the claim takes is no time of the database."""
    bench.answer(RewindSuspectedError("order", 5, 10, MAX_ID), 0.5)
    bench.answer(Reservation(Segment(10, 20), SETTINGS), 0.25)
    assert bench.shown == [
        ("order", 0.5, "RewindSuspectedError", False),
        ("order", 0.25, None, False),
    ]


class TestNoRow:
    """A row may be made from a pattern, once for each attempt."""

    def test_it_is_made_and_reserved_from(self, bench: Bench) -> None:
        bench.new_tags.made = True
        bench.answer(TagNotFoundError("order"))
        assert bench.new_tags.asked == [("order", frozenset({"alice"}))]
        bench.answer(Reservation(Segment(0, 10), SETTINGS))
        assert [record.result for record in bench.records] == [
            Reservation(Segment(0, 10), SETTINGS)
        ]

    def test_one_that_is_gone_again_is_the_end(self, bench: Bench) -> None:
        bench.new_tags.made = True
        bench.answer(TagNotFoundError("order"))
        bench.answer(TagNotFoundError("order"))
        assert len(bench.new_tags.asked) == len(bench.records) == 1

    def test_without_a_pattern_it_is_the_end(self, bench: Bench) -> None:
        bench.answer(TagNotFoundError("order"))
        assert isinstance(bench.records[0].result, TagNotFoundError)

    def test_no_pattern_is_for_nobody(self) -> None:
        """Nobody waits, or whoever does may not draw: a refill ahead, a look at the rights.

        A period whose row a failover has lost is made again.
        """
        for users in (None, frozenset[str | None]()):
            bench = Bench()
            bench.refills.start(replace(REFILL, users=users))
            bench.answer(TagNotFoundError("order"))
            assert bench.new_tags.asked == [("order", frozenset())]
            assert bench.records

    def test_an_attempt_that_was_abandoned_meanwhile_is_recorded_once(self, bench: Bench) -> None:
        ends: list[Callable[[], None]] = []

        def make(
            _tag: object, _users: object, on_made: Callable[[], None], _failed: object
        ) -> None:
            ends.append(on_made)

        bench.new_tags.make = make  # type: ignore[assignment]
        bench.answer(TagNotFoundError("order"))
        bench.refills.abandon(1)
        ends[0]()
        assert [type(record.result) for record in bench.records] == [NotBegunError]
        assert not bench.refill_threads.requests
