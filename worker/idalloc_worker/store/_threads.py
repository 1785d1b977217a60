"""Runs refills on threads of their own, so that no SQL ever runs on the thread that answers."""

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import inf
from typing import Any, Protocol

from idalloc_schemas import Period
from idalloc_worker.engine import ReservationRequest, StartRefill
from idalloc_worker.store._new_rows import NewRow, Templates
from idalloc_worker.store._reservation import Reservation

_log = logging.getLogger("idalloc.refill")


class Store(Protocol):
    """What a refill thread needs; see `SegmentStore`."""

    def reserve(self, request: ReservationRequest) -> Reservation:
        """Reserve a segment or raise."""

    def give_back(self, app_tag: str, left: int, right: int) -> bool:
        """Lower the row if nobody reserved since, or raise."""

    def ordered_tags(self) -> dict[str, int]:
        """Read which tags are ordered and how far they are reserved, or raise."""

    def read_marks(self, app_tags: Sequence[str]) -> dict[str, int]:
        """Read how far tags are reserved, or raise."""

    def existing(self, app_tags: Sequence[str]) -> frozenset[str]:
        """Tell which of these tags have a row, or raise."""

    def templates(self) -> Templates:
        """Read which rows others are made from, or raise."""

    def add_row(self, row: NewRow) -> bool:
        """Make the row of a tag, or raise; False if there is one."""

    def remove_periods(self, app_tag: str, before: Period) -> list[str]:
        """Remove rows of earlier periods, or raise; tells which."""

    def read_clock(self) -> datetime:
        """Tell what time it is by the database, in UTC, or raise."""

    def raise_mark(self, app_tag: str, seen: int, floor: int) -> bool:
        """Raise a row that still says `seen`, or raise an error."""

    def arm(self) -> None:
        """Let `abort` count from now on, though the reservation has not begun."""

    def abort(self) -> None:
        """Make a reservation that runs in another thread fail."""

    def close(self) -> None:
        """Give the connection up."""


@dataclass(frozen=True, slots=True)
class RefillOutcome:
    """How one attempt ended, and how many seconds the store had it."""

    refill: StartRefill
    result: Reservation | Exception
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class GiveBack:
    """Lower the row of a tag from `right` to `left`: once, and only if it still says `right`."""

    app_tag: str
    left: int
    right: int
    report: Callable[[bool | Exception], None]
    """Called on a refill thread, unless the threads are stopped before one gets to it."""


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """What is to be done with a store; `report` is called on a refill thread."""

    work: Callable[[Store], object]
    report: Callable[[Any], None]


class NotBegunError(Exception):
    """The attempt was abandoned before a thread got to it: nothing was reserved."""

    def __init__(self) -> None:
        super().__init__("abandoned while it waited for a refill thread")


_Key = int | Job
"""Names a job: refills go by the numbers of their attempts."""


class RefillThreads:
    """A fixed number of threads, each with a store of its own.

    `start`, `refill`, `give_back`, `run`, `abandon` and `stop` never block and belong to the
    engine's thread (`stop` waits for the threads). What a job reports is reported once, on a refill
    thread.
    """

    def __init__(self, make_store: Callable[[], Store], threads: int) -> None:
        self._make_store = make_store
        self._jobs: queue.SimpleQueue[tuple[_Key, Job] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()  # guards the two below
        self._queued: set[_Key] = set()  # less what was abandoned
        self._running: dict[_Key, Store] = {}
        self._wanted = threads
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Start the threads; each connects at its first refill.

        Raises RuntimeError if there is none to be had: those that there are do all the work, and
        calling it again starts the others.
        """
        while len(self._threads) < self._wanted:
            name = f"idalloc-refill-{len(self._threads) + 1}"
            thread = threading.Thread(target=self._run, name=name, daemon=True)
            thread.start()
            self._threads.append(thread)

    def refill(self, refill: StartRefill, report: Callable[[RefillOutcome], None]) -> None:
        """Queue a reservation, whose end is reported also if it is abandoned."""
        began = inf

        def reserve(store: Store) -> Reservation:
            nonlocal began
            began = time.monotonic()
            return store.reserve(refill)

        def end(result: Reservation | Exception) -> None:
            report(RefillOutcome(refill, result, max(time.monotonic() - began, 0.0)))

        self._put(refill.attempt, Job(reserve, end))

    def give_back(self, ids: GiveBack) -> None:
        """Queue a give-back; it cannot be abandoned."""
        self.run(Job(lambda store: store.give_back(ids.app_tag, ids.left, ids.right), ids.report))

    def run(self, job: Job) -> None:
        """Queue any other job; it cannot be abandoned."""
        self._put(job, job)

    def _put(self, key: _Key, job: Job) -> None:
        with self._lock:
            self._queued.add(key)
        self._jobs.put((key, job))

    def abandon(self, attempt: int) -> None:
        """Interrupt an attempt, or take it out of the queue."""
        with self._lock:
            self._queued.discard(attempt)
            if attempt in self._running:
                # Under the lock, so that it cannot hit the thread's next attempt.
                self._running[attempt].abort()

    def stop(self, timeout: float) -> bool:
        """Interrupt what runs, end the threads; False if one did not end in `timeout` seconds."""
        deadline = time.monotonic() + timeout
        for _ in self._threads:
            self._jobs.put(None)
        with self._lock:
            self._queued.clear()
            for store in self._running.values():
                store.abort()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(deadline - time.monotonic(), 0.0))
        stuck = [thread.name for thread in self._threads if thread.is_alive()]
        if stuck:
            _log.warning("Threads did not stop in time: %s", ", ".join(stuck))
        return not stuck

    def _run(self) -> None:
        store = self._make_store()
        try:
            while (queued := self._jobs.get()) is not None:
                key, job = queued
                job.report(self._do(store, key, job))
        finally:
            store.close()

    def _do(self, store: Store, key: _Key, job: Job) -> object:
        with self._lock:
            if key not in self._queued:
                return NotBegunError()
            self._queued.remove(key)
            self._running[key] = store
            store.arm()  # from here on `abandon` and `stop` rely on it
        try:
            return job.work(store)
        except Exception as error:  # noqa: BLE001  # the report carries it
            return error
        finally:
            with self._lock:
                del self._running[key]
