"""Tags of which nobody knows a row are looked up apart, many at a time; users take turns."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from idalloc_worker._runtime import Runtime
from idalloc_worker.engine._effects import StartRefill
from idalloc_worker.refill._coordinator import RefillCoordinator
from idalloc_worker.refill._lookup_queue import DIRECT, MOST, PAUSE, Lookup, LookupQueue
from idalloc_worker.store._threads import Job, RefillOutcome
from idalloc_worker.tags._errors import StoreReason, StoreUnavailableError, TagNotFoundError
from tests.engine_driver import Driver, Row
from tests.runtimes import runtime
from tests.unit.refill.test_coordinator import FakeFleet, FakeNewTags


@dataclass
class Surroundings:
    """The refill threads' queue, the table, and a clock that stands still."""

    rows: frozenset[str] = frozenset()
    queue: list[StartRefill | Job] = field(default_factory=list)
    later: list[tuple[float, Callable[[], None]]] = field(default_factory=list)
    asked: list[tuple[str, ...]] = field(default_factory=list)
    error: Exception | None = None

    def refill(self, refill: StartRefill, _report: object) -> None:
        self.queue.append(refill)

    def run(self, job: Job) -> None:
        self.queue.append(job)

    def existing(self, app_tags: tuple[str, ...]) -> frozenset[str]:
        self.asked.append(app_tags)
        return self.rows.intersection(app_tags)

    def lookups(self) -> LookupQueue:
        return LookupQueue(self.runtime())

    def runtime(self) -> Runtime:
        return runtime(link=self, refill_threads=self)

    def call_later(self, delay: float, callback: Callable[[], None]) -> None:
        self.later.append((delay, callback))

    def coordinator(self, records: list[RefillOutcome]) -> RefillCoordinator:
        fleet: Any = FakeFleet()
        new_tags: Any = FakeNewTags()
        return RefillCoordinator(fleet, self.runtime(), new_tags, records.append)

    def look(self) -> None:
        """Let a thread do the first look that is queued."""
        job = next(job for job in self.queue if isinstance(job, Job))
        self.queue.remove(job)
        job.report(self.error or job.work(self))  # type: ignore[arg-type]

    def wake(self) -> None:
        """Let the time of a pause pass."""
        _, callback = self.later.pop()
        callback()


class Outcomes:
    """What became of lookups."""

    def __init__(self, lookups: LookupQueue) -> None:
        self.lookups = lookups
        self.found: list[str] = []
        self.failed: dict[str, Exception] = {}
        self._attempts = 0

    def add(self, app_tag: str, user: str | None = "shop") -> None:
        self._attempts += 1
        self.lookups.add(
            Lookup(
                *(self._attempts, app_tag, user),
                on_found=lambda: self.found.append(app_tag),
                on_failed=lambda error: self.failed.update({app_tag: error}),
            )
        )


def test_a_flood_of_unknown_tags_leaves_the_refill_threads_alone() -> None:
    """Of any number of them, two refills and one look are queued; so a known tag is next."""
    around = Surroundings()
    records: list[RefillOutcome] = []
    refills = around.coordinator(records)
    d = Driver(rows={"order": Row(10)})
    d.get("order", count=9)
    d.ask("order", count=15, user="shop")
    (known,) = d.refills
    d.refills.clear()
    for number in range(20_000):
        d.ask(f"made-up-{number}", user="greedy")
    for refill in d.refills:
        refills.start(refill)
    refills.start(known)
    assert len(around.queue) <= DIRECT + 2
    assert isinstance(around.queue[-1], StartRefill)
    assert around.queue[-1].app_tag == "order"


def test_the_first_ones_are_refilled_at_once() -> None:
    """A look would only take the time of a statement more."""
    around = Surroundings(rows=frozenset({"a", "b", "c"}))
    outcomes = Outcomes(around.lookups())
    outcomes.add("a")
    outcomes.add("b")
    assert outcomes.found == ["a", "b"]
    outcomes.add("c")
    assert outcomes.found == ["a", "b"]
    around.look()
    assert outcomes.found == ["a", "b", "c"]
    outcomes.lookups.ended(1)
    outcomes.add("nope")
    assert outcomes.found[-1] == "nope"


def test_many_are_looked_up_in_one_statement() -> None:
    """Those that are there are refilled; the others' callers learn that there is no such tag."""
    around = Surroundings(rows=frozenset({"new"}))
    outcomes = Outcomes(around.lookups())
    for number in range(DIRECT + 1 + MOST - 1):
        outcomes.add(f"made-up-{number}")
    outcomes.add("new")
    around.look()
    around.look()
    assert list(map(len, around.asked)) == [1, MOST]
    assert outcomes.found[DIRECT:] == ["new"]
    assert len(outcomes.failed) == MOST
    assert {type(error) for error in outcomes.failed.values()} == {TagNotFoundError}
    assert around.queue == []


def test_looks_at_many_names_keep_a_pace() -> None:
    """Between two of them is a pause; what is added meanwhile goes with the next one."""
    around = Surroundings()
    outcomes = Outcomes(around.lookups())
    for number in range(1000):
        outcomes.add(f"made-up-{number}")
    around.look()
    around.look()
    assert [delay for delay, _ in around.later] == [PAUSE]
    outcomes.add("late", "other")
    assert around.queue == []
    around.wake()
    around.look()
    assert "late" in outcomes.failed


def test_users_take_turns() -> None:
    """One new tag of somebody else is in the next look, however many one user made up before."""
    around = Surroundings(rows=frozenset({"new"}))
    outcomes = Outcomes(around.lookups())
    for number in range(5 * MOST):
        outcomes.add(f"made-up-{number}", "greedy")
    outcomes.add("new", "shop")
    around.look()  # what was there first
    around.look()
    assert "new" in outcomes.found


def test_a_look_that_fails_fails_what_it_was_for() -> None:
    """An outage is told as that, and what comes later is looked up anew."""
    around = Surroundings(rows=frozenset({"new"}))
    outcomes = Outcomes(around.lookups())
    for number in range(DIRECT):
        outcomes.add(f"{number}")
    outcomes.add("new")
    around.error = StoreUnavailableError(StoreReason.LOST_CONNECTION, "gone")
    around.look()
    assert outcomes.failed == {"new": around.error}
    around.error = None
    outcomes.add("new")
    around.look()
    assert outcomes.found[-1] == "new"


@pytest.mark.parametrize("when", ["while it waits", "while it is looked up"])
def test_what_was_abandoned_is_recorded_once(when: str) -> None:
    """It waited longer than a refill may take; what the look finds is of no use any more."""
    around = Surroundings(rows=frozenset({"new"}))
    records: list[RefillOutcome] = []
    refills = around.coordinator(records)
    blockers = DIRECT + (when == "while it waits")
    for number in range(blockers):
        refills.start(StartRefill(f"made-up-{number}", 1, 0, stranger=True, attempt=number))
    refills.start(StartRefill("new", 1, 0, stranger=True, attempt=99))
    refills.abandon(99)
    assert [record.refill.app_tag for record in records] == ["new"]
    while any(isinstance(job, Job) for job in around.queue):
        around.look()
    assert [record.refill.app_tag for record in records].count("new") == 1


def test_what_ended_meanwhile_is_not_kept() -> None:
    """A database that hangs takes no look, and attempts are given up after two seconds each."""
    lookups = Surroundings().lookups()
    outcomes = Outcomes(lookups)
    for number in range(10_000):
        outcomes.add(f"made-up-{number}")
        lookups.ended(number - 500)
    assert sum(map(len, lookups._waiting.values())) <= 1500
