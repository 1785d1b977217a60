"""Refill threads with a store whose reservations end when the test says so."""

import queue
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import pytest

from idalloc_schemas import Period
from idalloc_worker.engine._effects import ReservationRequest, StartRefill
from idalloc_worker.mysql._lifeline import Lifeline
from idalloc_worker.store._new_rows import NewRow, Templates
from idalloc_worker.store._reservation import Reservation
from idalloc_worker.store._threads import GiveBack, Job, NotBegunError, RefillOutcome, RefillThreads
from idalloc_worker.tags._segment import Segment
from idalloc_worker.tags._settings import TagSettings


class FakeStore:
    """Blocks in `reserve` until it is aborted or released."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.release = threading.Event()
        self.given_back: list[tuple[int, int]] = []
        self.aborted = False
        self.closed = False

    def arm(self) -> None:
        self.aborted = False

    def existing(self, app_tags: Sequence[str]) -> frozenset[str]:
        return frozenset(app_tags)

    def read_marks(self, app_tags: Sequence[str]) -> dict[str, int]:
        return dict.fromkeys(app_tags, 7)

    def templates(self) -> Templates:
        return Templates({})

    def add_row(self, row: NewRow) -> bool:
        return bool(row.app_tag)

    def remove_periods(self, app_tag: str, before: Period) -> list[str]:
        return [before.row_of(app_tag)]

    def read_clock(self) -> datetime:
        return datetime.now(UTC)

    def raise_mark(self, app_tag: str, seen: int, floor: int) -> bool:
        return seen < floor and bool(app_tag)

    def ordered_tags(self) -> dict[str, int]:
        self.entered.set()
        self.release.wait(10)
        if self.aborted:
            raise TimeoutError("aborted")
        return {"ordered": 7}

    def reserve(self, request: ReservationRequest) -> Reservation:
        self.entered.set()
        self.release.wait(10)
        if self.aborted:
            raise TimeoutError("aborted")
        if request.app_tag == "bug":
            raise ZeroDivisionError
        segment = Segment(request.floor, request.floor + request.want)
        return Reservation(segment, TagSettings(step=request.want))

    def give_back(self, app_tag: str, left: int, right: int) -> bool:
        self.given_back.append((left, right))
        self.entered.set()
        self.release.wait(10)
        if self.aborted:
            raise TimeoutError("aborted")
        return right == 10

    def abort(self) -> None:
        self.aborted = True
        self.release.set()

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
def reports() -> "queue.SimpleQueue[RefillOutcome]":
    return queue.SimpleQueue()


@pytest.fixture
def refill_threads(
    store: FakeStore, reports: "queue.SimpleQueue[RefillOutcome]"
) -> Iterator[RefillThreads]:
    running = RefillThreads(lambda: store, 1)
    running.start()
    yield running
    assert running.stop(10)
    assert store.closed


def test_reports_each_attempt_once(
    refill_threads: RefillThreads, store: FakeStore, reports: "queue.SimpleQueue[RefillOutcome]"
) -> None:
    """A reservation, a failure and a bug all become a report, and the thread goes on."""
    store.release.set()
    for attempt, app_tag in enumerate(["a", "bug", "b"]):
        refill_threads.refill(StartRefill(app_tag, 10, 5, attempt=attempt), reports.put)
    outcomes = [reports.get(timeout=10).result for _ in range(3)]
    assert outcomes[0] == Reservation(Segment(5, 15), TagSettings(step=10))
    assert isinstance(outcomes[1], ZeroDivisionError)
    assert isinstance(outcomes[2], Reservation)


def test_interrupts_what_runs(
    refill_threads: RefillThreads, store: FakeStore, reports: "queue.SimpleQueue[RefillOutcome]"
) -> None:
    """An attempt that is abandoned while it runs fails, and is still reported."""
    refill_threads.refill(StartRefill("a", 10, 0, attempt=1), reports.put)
    assert store.entered.wait(10)
    refill_threads.abandon(1)
    assert isinstance(reports.get(timeout=10).result, TimeoutError)


def test_what_was_not_begun_reserves_nothing(
    refill_threads: RefillThreads, store: FakeStore, reports: "queue.SimpleQueue[RefillOutcome]"
) -> None:
    """An attempt that is abandoned in the queue never reaches the database."""
    refill_threads.refill(StartRefill("a", 10, 0, attempt=1), reports.put)
    assert store.entered.wait(10)
    refill_threads.refill(StartRefill("b", 10, 0, attempt=2), reports.put)
    refill_threads.abandon(2)
    store.release.set()
    assert isinstance(reports.get(timeout=10).result, Reservation)
    assert isinstance(reports.get(timeout=10).result, NotBegunError)
    assert not refill_threads._queued


def test_stop_interrupts(store: FakeStore, reports: "queue.SimpleQueue[RefillOutcome]") -> None:
    """Stopping does not wait for a database that hangs."""
    running = RefillThreads(lambda: store, 1)
    running.start()
    running.refill(StartRefill("a", 10, 0, attempt=1), reports.put)
    assert store.entered.wait(10)
    assert running.stop(10)


def test_gives_back_beside_refills(
    refill_threads: RefillThreads, store: FakeStore, reports: "queue.SimpleQueue[RefillOutcome]"
) -> None:
    """Each is done once, and told to whoever asked for it; then the thread goes on."""
    outcomes: queue.SimpleQueue[bool | Exception] = queue.SimpleQueue()
    store.release.set()
    refill_threads.give_back(GiveBack("a", 3, 10, outcomes.put))
    refill_threads.give_back(GiveBack("a", 3, 11, outcomes.put))
    refill_threads.refill(StartRefill("a", 10, 0, attempt=1), reports.put)
    assert [outcomes.get(timeout=10) for _ in range(2)] == [True, False]
    assert isinstance(reports.get(timeout=10).result, Reservation)
    assert store.given_back == [(3, 10), (3, 11)]


def test_stop_interrupts_a_give_back(
    store: FakeStore, reports: "queue.SimpleQueue[RefillOutcome]"
) -> None:
    """One that runs is cut off, with an unknown outcome; one that waits is not begun."""
    running = RefillThreads(lambda: store, 1)
    running.start()
    outcomes: queue.SimpleQueue[bool | Exception] = queue.SimpleQueue()
    running.give_back(GiveBack("a", 3, 10, outcomes.put))
    assert store.entered.wait(10)
    running.give_back(GiveBack("b", 3, 10, outcomes.put))
    assert running.stop(10)
    assert isinstance(outcomes.get(timeout=10), TimeoutError)
    assert isinstance(outcomes.get(timeout=10), NotBegunError)


def test_looks_which_tags_are_ordered(refill_threads: RefillThreads, store: FakeStore) -> None:
    """What was found is told to whoever asked."""
    found: queue.SimpleQueue[dict[str, int] | Exception] = queue.SimpleQueue()
    store.release.set()
    refill_threads.run(Job(lambda store: store.ordered_tags(), found.put))
    assert found.get(timeout=10) == {"ordered": 7}


def test_stop_interrupts_a_look_at_the_ordered_tags(
    store: FakeStore, reports: "queue.SimpleQueue[RefillOutcome]"
) -> None:
    """One that runs is cut off, and one that waits does not hold the stop up either."""
    running = RefillThreads(lambda: store, 1)
    running.start()
    found: queue.SimpleQueue[dict[str, int] | Exception] = queue.SimpleQueue()
    running.run(Job(lambda store: store.ordered_tags(), found.put))
    assert store.entered.wait(10)
    running.run(Job(lambda store: store.ordered_tags(), found.put))
    assert running.stop(10)
    assert isinstance(found.get(timeout=10), TimeoutError)
    assert isinstance(found.get(timeout=10), NotBegunError)


def test_an_abort_before_the_operation_counts() -> None:
    """The store is interrupted even in the instant between its choice and its first statement."""
    lifeline = Lifeline()
    lifeline.arm()
    lifeline.abort()
    with lifeline.operation():
        assert lifeline.aborted
    with lifeline.operation():
        assert not lifeline.aborted


def test_threads_that_cannot_be_had_are_started_later(
    store: FakeStore,
    reports: "queue.SimpleQueue[RefillOutcome]",
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Those that there are do the work meanwhile."""
    refill_threads = RefillThreads(lambda: store, 2)
    start, failures = threading.Thread.start, iter([False, True])

    def sometimes(thread: threading.Thread) -> None:
        if next(failures, False):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", sometimes)
    with pytest.raises(RuntimeError):
        refill_threads.start()
    store.release.set()
    refill_threads.refill(StartRefill("order", 10, 0, attempt=1), reports.put)
    assert reports.get(timeout=30).refill.attempt == 1
    refill_threads.start()
    names = {thread.name for thread in threading.enumerate()}
    assert {"idalloc-refill-1", "idalloc-refill-2"} <= names
    assert refill_threads.stop(30)
