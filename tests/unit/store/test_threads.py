"""Refill threads with a store whose reservations end when the test says so."""

import queue
import threading
from collections.abc import Iterator, Sequence

import pytest

from idalloc_worker.engine._effects import StartRefill
from idalloc_worker.mysql._lifeline import Lifeline
from idalloc_worker.store._store import Reservation
from idalloc_worker.store._threads import Errand, GiveBack, NotBegunError, Refiller, RefillReport
from idalloc_worker.tags._segment import Segment
from idalloc_worker.tags._settings import TagSettings
from idalloc_worker.tags._step_size import NO_DEMAND, Demand


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

    def raise_mark(self, app_tag: str, seen: int, floor: int) -> bool:
        return seen < floor and bool(app_tag)

    def ordered_tags(self) -> dict[str, int]:
        self.entered.set()
        self.release.wait(10)
        if self.aborted:
            raise TimeoutError("aborted")
        return {"ordered": 7}

    def reserve(  # all that one refill is about
        self,
        app_tag: str,
        want: int,
        floor: int = 0,
        *,
        demand: Demand = NO_DEMAND,
        users: frozenset[str | None] | None = None,
        suspected: int | None = None,
        ordered: bool = False,
    ) -> Reservation:
        del demand, users, suspected, ordered
        self.entered.set()
        self.release.wait(10)
        if self.aborted:
            raise TimeoutError("aborted")
        if app_tag == "bug":
            raise ZeroDivisionError
        return Reservation(Segment(floor, floor + want), TagSettings(step=want))

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
def reports() -> "queue.SimpleQueue[RefillReport]":
    return queue.SimpleQueue()


@pytest.fixture
def refiller(store: FakeStore, reports: "queue.SimpleQueue[RefillReport]") -> Iterator[Refiller]:
    running = Refiller(lambda: store, 1, reports.put)
    running.start()
    yield running
    assert running.stop(10)
    assert store.closed


def test_reports_each_attempt_once(
    refiller: Refiller, store: FakeStore, reports: "queue.SimpleQueue[RefillReport]"
) -> None:
    """A reservation, a failure and a bug all become a report, and the thread goes on."""
    store.release.set()
    for attempt, app_tag in enumerate(["a", "bug", "b"]):
        refiller.request(StartRefill(app_tag, attempt, 10, 5))
    outcomes = [reports.get(timeout=10).outcome for _ in range(3)]
    assert outcomes[0] == Reservation(Segment(5, 15), TagSettings(step=10))
    assert isinstance(outcomes[1], ZeroDivisionError)
    assert isinstance(outcomes[2], Reservation)


def test_interrupts_what_runs(
    refiller: Refiller, store: FakeStore, reports: "queue.SimpleQueue[RefillReport]"
) -> None:
    """An attempt that is abandoned while it runs fails, and is still reported."""
    refiller.request(StartRefill("a", 1, 10, 0))
    assert store.entered.wait(10)
    refiller.abandon(1)
    assert isinstance(reports.get(timeout=10).outcome, TimeoutError)


def test_what_was_not_begun_reserves_nothing(
    refiller: Refiller, store: FakeStore, reports: "queue.SimpleQueue[RefillReport]"
) -> None:
    """An attempt that is abandoned in the queue never reaches the database."""
    refiller.request(StartRefill("a", 1, 10, 0))
    assert store.entered.wait(10)
    refiller.request(StartRefill("b", 2, 10, 0))
    refiller.abandon(2)
    store.release.set()
    assert isinstance(reports.get(timeout=10).outcome, Reservation)
    assert isinstance(reports.get(timeout=10).outcome, NotBegunError)
    assert not refiller._abandoned


def test_stop_interrupts(store: FakeStore, reports: "queue.SimpleQueue[RefillReport]") -> None:
    """Stopping does not wait for a database that hangs."""
    running = Refiller(lambda: store, 1, reports.put)
    running.start()
    running.request(StartRefill("a", 1, 10, 0))
    assert store.entered.wait(10)
    assert running.stop(10)


def test_gives_back_beside_refills(
    refiller: Refiller, store: FakeStore, reports: "queue.SimpleQueue[RefillReport]"
) -> None:
    """Each is done once, and told to whoever asked for it; then the thread goes on."""
    outcomes: queue.SimpleQueue[bool | Exception] = queue.SimpleQueue()
    store.release.set()
    refiller.give_back(GiveBack("a", 3, 10, outcomes.put))
    refiller.give_back(GiveBack("a", 3, 11, outcomes.put))
    refiller.request(StartRefill("a", 1, 10, 0))
    assert [outcomes.get(timeout=10) for _ in range(2)] == [True, False]
    assert isinstance(reports.get(timeout=10).outcome, Reservation)
    assert store.given_back == [(3, 10), (3, 11)]


def test_stop_interrupts_a_give_back(
    store: FakeStore, reports: "queue.SimpleQueue[RefillReport]"
) -> None:
    """One that runs is cut off, with an unknown outcome; one that waits is not begun."""
    running = Refiller(lambda: store, 1, reports.put)
    running.start()
    outcomes: queue.SimpleQueue[bool | Exception] = queue.SimpleQueue()
    running.give_back(GiveBack("a", 3, 10, outcomes.put))
    assert store.entered.wait(10)
    running.give_back(GiveBack("b", 3, 10, outcomes.put))
    assert running.stop(10)
    assert isinstance(outcomes.get(timeout=10), TimeoutError)
    assert isinstance(outcomes.get(timeout=10), NotBegunError)


def test_looks_which_tags_are_ordered(refiller: Refiller, store: FakeStore) -> None:
    """What was found is told to whoever asked."""
    found: queue.SimpleQueue[dict[str, int] | Exception] = queue.SimpleQueue()
    store.release.set()
    refiller.run(Errand(lambda store: store.ordered_tags(), found.put))
    assert found.get(timeout=10) == {"ordered": 7}


def test_stop_interrupts_a_look_at_the_ordered_tags(
    store: FakeStore, reports: "queue.SimpleQueue[RefillReport]"
) -> None:
    """One that runs is cut off, and one that waits does not hold the stop up either."""
    running = Refiller(lambda: store, 1, reports.put)
    running.start()
    found: queue.SimpleQueue[dict[str, int] | Exception] = queue.SimpleQueue()
    running.run(Errand(lambda store: store.ordered_tags(), found.put))
    assert store.entered.wait(10)
    running.run(Errand(lambda store: store.ordered_tags(), found.put))
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
    reports: "queue.SimpleQueue[RefillReport]",
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Those that there are do the work meanwhile."""
    refiller = Refiller(lambda: store, 2, reports.put)
    start, failures = threading.Thread.start, iter([False, True])

    def sometimes(thread: threading.Thread) -> None:
        if next(failures, False):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", sometimes)
    with pytest.raises(RuntimeError):
        refiller.start()
    store.release.set()
    refiller.request(StartRefill("order", 1, 10, 0))
    assert reports.get(timeout=30).refill.attempt == 1
    refiller.start()
    names = {thread.name for thread in threading.enumerate()}
    assert {"idalloc-refill-1", "idalloc-refill-2"} <= names
    assert refiller.stop(30)
