"""The simulation's database does what the real store and a real database do."""

from dataclasses import fields
from itertools import combinations, product

import pytest

from devstack import Database
from idalloc_worker.engine._effects import ReservationRequest, StartRefill
from idalloc_worker.store._reservation import Reservation
from idalloc_worker.store._threads import GiveBack, RefillOutcome
from idalloc_worker.tags._errors import StoreError
from tests.integration.stores import add_tag, address_of, mark_of, opened
from tests.simulation._choices import Choices
from tests.simulation._database import STEP
from tests.simulation._database import Database as SimDatabase
from tests.simulation._flows import Flows
from tests.simulation._judge import Judge
from tests.simulation._refill_threads import SimRefillThreads, SimStore
from tests.simulation._weather import Weather

MARKS = (0, 3, 7, 9)
NOTHING_FAILS = Weather(statements_fail=0, answers_lost=0)


class Simulated:
    """One row, and threads that nothing disturbs."""

    def __init__(self, mark: int, *, ordered: bool = False) -> None:
        choices = Choices(None)
        self.database = SimDatabase(choices, ("t",), ("t",) if ordered else ())
        self.database.rows["t"] = mark
        self._flows = Flows(choices)
        self._reports: list[RefillOutcome] = []
        judge = Judge(frozenset(), trusted=False)
        self.store = SimStore(self.database, judge, "w")
        self.refill_threads = SimRefillThreads(
            "w", self.database, choices, NOTHING_FAILS, judge, self._flows
        )

    def settle(self) -> None:
        while self._flows.active:
            self._flows.active[0].run()

    def reserve(self, about: ReservationRequest) -> Reservation | str:
        given = {each.name: getattr(about, each.name) for each in fields(about)}
        refill = StartRefill(**given, attempt=1)
        self.refill_threads.refill(refill, self._reports.append)
        self.settle()
        (report,) = self._reports
        result = report.result
        return result if isinstance(result, Reservation) else type(result).__name__


@pytest.fixture
def rows(database: Database) -> Database:
    add_tag(database, "t", 0, STEP)
    database.query("UPDATE segments SET target_cover = 0")
    return database


def set_row(database: Database, mark: int, *, ordered: bool = False) -> None:
    database.query("UPDATE segments SET max_id = %s, ordered = %s", mark, int(ordered))


def test_reservations(rows: Database) -> None:
    """Whatever the row says, whatever the floor, and whether the row was suspected before."""
    with opened(address_of(rows)) as store:
        for mark, floor, suspected, want, ordered in product(
            MARKS, MARKS, (None, *MARKS), (1, 4), (False, True)
        ):
            set_row(rows, mark, ordered=ordered)
            simulated = Simulated(mark, ordered=ordered)
            about = ReservationRequest("t", want, floor, suspected=suspected, ordered=floor != 9)
            real: Reservation | str
            try:
                real = store.reserve(about)
            except StoreError as error:
                real = type(error).__name__
            assert simulated.reserve(about) == real, (mark, about)
            assert simulated.database.rows["t"] == mark_of(rows, "t")


def test_give_backs_and_raised_rows(rows: Database) -> None:
    """Each changes a row that says what it expects, and no other."""
    with opened(address_of(rows)) as store:
        for mark, (left, right) in product(MARKS, combinations(MARKS, 2)):
            given_back: list[bool | Exception] = []
            set_row(rows, mark)
            simulated = Simulated(mark)
            simulated.refill_threads.give_back(GiveBack("t", left, right, given_back.append))
            simulated.settle()
            assert given_back == [store.give_back("t", left, right)]
            assert simulated.database.rows["t"] == mark_of(rows, "t")
            set_row(rows, mark)
            simulated = Simulated(mark)
            raised = simulated.store.raise_mark("t", left, right)
            assert raised == store.raise_mark("t", left, right)
            assert simulated.database.rows["t"] == mark_of(rows, "t")
