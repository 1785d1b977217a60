"""Runs refills on threads of their own, so that no SQL ever runs on the thread that answers."""

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from idalloc_worker.engine import StartRefill
from idalloc_worker.store._store import Reservation
from idalloc_worker.tags import NO_DEMAND, Demand

_log = logging.getLogger("idalloc.refill")


class Store(Protocol):
    """What a refill thread needs; see `SegmentStore`."""

    def reserve(  # noqa: PLR0913  # all that one refill is about
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
        """Reserve a segment or raise."""

    def give_back(self, app_tag: str, left: int, right: int) -> bool:
        """Lower the row if nobody reserved since, or raise."""

    def ordered_tags(self) -> dict[str, int]:
        """Read which tags are ordered and how far they are reserved, or raise."""

    def read_marks(self, app_tags: Sequence[str]) -> dict[str, int]:
        """Read how far tags are reserved, or raise."""

    def existing(self, app_tags: Sequence[str]) -> frozenset[str]:
        """Tell which of these tags have a row, or raise."""

    def raise_mark(self, app_tag: str, seen: int, floor: int) -> bool:
        """Raise a row that still says `seen`, or raise an error."""

    def arm(self) -> None:
        """Let `abort` count from now on, though the reservation has not begun."""

    def abort(self) -> None:
        """Make a reservation that runs in another thread fail."""

    def close(self) -> None:
        """Give the connection up."""


@dataclass(frozen=True, slots=True)
class RefillReport:
    """How one attempt ended, and how many seconds the store had it."""

    refill: StartRefill
    outcome: Reservation | Exception
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class GiveBack:
    """Lower the row of a tag from `right` to `left`: once, and only if it still says `right`."""

    app_tag: str
    left: int
    right: int
    report: Callable[[bool | Exception], None]
    """Called on a refill thread, unless the threads are stopped before one gets to it."""


@dataclass(frozen=True, slots=True)
class Errand:
    """Something else to be done with a store; `report` is called on a refill thread."""

    work: Callable[["Store"], object]
    report: Callable[[Any], None]


class NotBegunError(Exception):
    """The attempt was abandoned before a thread got to it: nothing was reserved."""

    def __init__(self) -> None:
        super().__init__("abandoned while it waited for a refill thread")


_Job = StartRefill | GiveBack | Errand


class Refiller:
    """A fixed number of threads, each with a store of its own.

    `start`, `request`, `abandon` and `stop` never block and belong to the engine's owner (`stop`
    waits for the threads). `report` is called on a refill thread, once for each request.
    """

    def __init__(
        self,
        make_store: Callable[[], Store],
        threads: int,
        report: Callable[[RefillReport], None],
    ) -> None:
        self._make_store = make_store
        self._report = report
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()  # guards the four below
        self._running: dict[int | Errand, Store] = {}
        self._abandoned: set[int] = set()
        self._stopping = False
        self._next_give_back = 0  # attempts count from 1, give-backs from -1 downwards
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

    def request(self, refill: StartRefill) -> None:
        """Queue an attempt."""
        self._jobs.put(refill)

    def give_back(self, job: GiveBack) -> None:
        """Queue a give-back; it cannot be abandoned."""
        self._jobs.put(job)

    def run(self, errand: Errand) -> None:
        """Queue an errand."""
        self._jobs.put(errand)

    def abandon(self, attempt: int) -> None:
        """Interrupt an attempt, or take it out of the queue."""
        with self._lock:
            store = self._running.get(attempt)
            if store is not None:
                store.abort()  # under the lock, so that it cannot hit the thread's next attempt
            else:
                self._abandoned.add(attempt)

    def stop(self, timeout: float) -> bool:
        """Interrupt what runs, end the threads; False if one did not end in `timeout` seconds."""
        deadline = time.monotonic() + timeout
        for _ in self._threads:
            self._jobs.put(None)
        with self._lock:
            self._stopping = True
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
            while (job := self._jobs.get()) is not None:
                if isinstance(job, Errand):
                    job.report(self._do(store, job))
                elif isinstance(job, GiveBack):
                    job.report(self._give_back(store, job))
                else:
                    self._refill(store, job)
        finally:
            store.close()

    def _refill(self, store: Store, refill: StartRefill) -> None:
        began = time.monotonic()
        outcome = self._attempt(store, refill)
        seconds = time.monotonic() - began
        with self._lock:
            self._abandoned.discard(refill.attempt)  # it came when the attempt had ended
        self._report(RefillReport(refill, outcome, seconds))

    def _do(self, store: Store, errand: Errand) -> object:
        with self._lock:
            if self._stopping:
                return NotBegunError()
            self._running[errand] = store  # `stop` ends it
            store.arm()
        try:
            return errand.work(store)
        except Exception as error:  # noqa: BLE001  # the report carries it
            return error
        finally:
            with self._lock:
                del self._running[errand]

    def _attempt(self, store: Store, refill: StartRefill) -> Reservation | Exception:
        with self._lock:
            if refill.attempt in self._abandoned:
                self._abandoned.discard(refill.attempt)
                return NotBegunError()
            self._running[refill.attempt] = store
            store.arm()  # from here on `abandon` relies on it
        try:
            return store.reserve(
                refill.app_tag,
                refill.want,
                refill.floor,
                demand=refill.demand,
                users=refill.users,
                suspected=refill.suspected,
                ordered=refill.ordered,
            )
        except Exception as error:  # noqa: BLE001  # the report carries it
            return error
        finally:
            with self._lock:
                del self._running[refill.attempt]

    def _give_back(self, store: Store, job: GiveBack) -> bool | Exception:
        with self._lock:
            if self._stopping:
                return NotBegunError()
            number = self._next_give_back = self._next_give_back - 1
            self._running[number] = store  # so that `stop` can interrupt it
            store.arm()
        try:
            return store.give_back(job.app_tag, job.left, job.right)
        except Exception as error:  # noqa: BLE001  # the report carries it
            return error
        finally:
            with self._lock:
                del self._running[number]
