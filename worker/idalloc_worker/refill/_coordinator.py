"""Takes a refill from the engine's wish to its end: floor, reservation, claim, report.

Owned by the link's thread. The engine is told of a segment only when no other worker can own any
of it.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from idalloc_worker._runtime import Runtime
from idalloc_worker.counters import Event
from idalloc_worker.engine import StartRefill
from idalloc_worker.fleet import Fleet
from idalloc_worker.marks import Watch
from idalloc_worker.refill._lookup_queue import Lookup, LookupQueue
from idalloc_worker.store import Job, NotBegunError, RefillOutcome, Reservation
from idalloc_worker.tags import (
    MarkImplausibleError,
    MarksNotVouchedError,
    RewindSuspectedError,
    SegmentContestedError,
    TagNotFoundError,
    is_plausible,
)
from idalloc_worker.templates import NewTags

_log = logging.getLogger("idalloc.refill")

_MAX_SUSPICIONS = 4
"""Times in one attempt that a row may move while it is looked into; then the refill fails."""


@dataclass(slots=True, eq=False)
class _Attempt:
    refill: StartRefill
    watch: Watch
    floor: int = 0
    """What had been heard when the row was asked for last."""
    suspicions: int = 0
    seconds: float = 0.0
    """How long the database took, all looks at the row together."""
    in_database: bool = False
    """Whether a refill thread has it, or will get to it."""
    reservation: Reservation | None = None
    claim: object = None
    made: bool = False
    """Whether it was tried to make the row."""
    abandoned: bool = False


class RefillCoordinator:
    """Every attempt that the engine started is recorded once, with `record`."""

    def __init__(
        self,
        fleet: Fleet,
        runtime: Runtime,
        new_tags: NewTags,
        record: Callable[[RefillOutcome], None],
    ) -> None:
        self._fleet = fleet
        self._new_tags = new_tags
        self._refill_threads = runtime.refill_threads
        self._record = record
        self._counters = runtime.counters.events
        self._traces = runtime.traces
        self._post = runtime.post
        self._lookups = LookupQueue(runtime)
        self._attempts: dict[int, _Attempt] = {}
        self._on_idle: Callable[[], None] | None = None

    def start(self, refill: StartRefill) -> None:
        """Reserve above all that this worker and the others are known to hold."""
        watch = self._fleet.marks.watch(refill.app_tag, refill.floor)
        attempt = self._attempts[refill.attempt] = _Attempt(refill, watch)
        # What cannot be claimed would be lost.
        self._fleet.when_able(lambda: self._look_up(attempt))

    def _look_up(self, attempt: _Attempt) -> None:
        """Let others go first whose tags are known, if this one is not."""
        refill = attempt.refill
        if not refill.stranger:
            self._begin(attempt)
            return

        def on_failed(error: Exception) -> None:
            if not attempt.abandoned:
                self._failed(attempt, error)

        user = next(iter(refill.users), None) if refill.users else None
        self._lookups.add(
            Lookup(
                *(refill.attempt, refill.app_tag, user),
                on_found=lambda: self._begin(attempt),
                on_failed=on_failed,
            )
        )

    def _begin(self, attempt: _Attempt) -> None:
        if attempt.abandoned:
            return
        refill = attempt.refill
        if self._fleet.vouching.vouches_for(refill.app_tag):
            self._look(attempt)
        else:
            self._read_row(attempt)

    def _look(self, attempt: _Attempt, suspected: RewindSuspectedError | None = None) -> None:
        """Have the row read, and reserved from; all that was heard until now counts."""
        refill, marks = attempt.refill, self._fleet.marks
        marks.unwatch(attempt.watch)
        attempt.watch = marks.watch(refill.app_tag, refill.floor)
        floor, row = attempt.watch.floor, None
        if suspected is not None:
            read, known = suspected.max_id, min(floor, attempt.floor)
            if not is_plausible(read, known, refill.floor, suspected.end):
                self._counters[Event.MARKS_IMPLAUSIBLE] += 1
                self._end(attempt, MarkImplausibleError(refill.app_tag, read, known))
                return
            # What was heard since may have moved the row since: then it is read once more first.
            row = read if is_plausible(read, floor, refill.floor, suspected.end) else None
        attempt.floor = floor
        attempt.in_database = True
        refill = replace(refill, floor=floor, suspected=row)
        self._refill_threads.refill(refill, lambda end: self._post(lambda: self._on_end(end)))

    def _read_row(self, attempt: _Attempt) -> None:
        """See whether an operator has raised a tag of which the marks are not certain."""
        app_tag = attempt.refill.app_tag

        def report(rows: Any) -> None:
            self._post(lambda: on_rows(rows))

        def on_rows(rows: dict[str, int] | Exception) -> None:
            if attempt.abandoned:
                return
            if isinstance(rows, Exception):
                self._end(attempt, rows)
            elif app_tag not in rows or self._fleet.vouching.raised(app_tag, rows[app_tag]):
                self._look(attempt)
            else:
                self._end(attempt, MarksNotVouchedError(app_tag, rows[app_tag]))

        self._refill_threads.run(Job(lambda store: store.read_marks((app_tag,)), report))

    def abandon(self, number: int) -> None:
        """Cut an attempt short; it is recorded nevertheless."""
        attempt = self._attempts.get(number)
        if attempt is None:
            return
        attempt.abandoned = True
        if attempt.in_database:
            self._refill_threads.abandon(number)
        elif attempt.reservation is not None:
            self._fleet.forget(attempt.claim)
            self._end(attempt, attempt.reservation)
        else:  # it waits for the fleet, or looks into what the row says
            self._end(attempt, NotBegunError())

    def _on_end(self, end: RefillOutcome) -> None:
        """Take what the database said."""
        attempt, result = self._attempts[end.refill.attempt], end.result
        attempt.in_database = False
        attempt.seconds += end.seconds
        if self._traces is not None:
            error = None if isinstance(result, Reservation) else result
            about = (end.refill.app_tag, end.seconds, error)
            self._traces.refilled(*about, ordered=end.refill.ordered)
        if isinstance(result, Reservation):
            self._note_rewind(attempt, result)
        if attempt.abandoned:
            self._end(attempt, result)
        elif isinstance(result, RewindSuspectedError):
            self._suspect(attempt, result)
        elif isinstance(result, Exception):
            self._failed(attempt, result)
        elif result.segment.size:
            self._claim(attempt, result)
        else:  # those who wait may not draw: there is nothing to claim
            self._end(attempt, result)

    def _failed(self, attempt: _Attempt, error: Exception) -> None:
        """End it, but where there is no row see first whether one can be made."""
        if not isinstance(error, TagNotFoundError) or attempt.made:
            self._end(attempt, error)
            return
        attempt.made = True

        def on_made() -> None:
            self._begin(attempt)

        def on_failed(error: Exception) -> None:
            if not attempt.abandoned:
                self._end(attempt, error)

        self._new_tags.make(
            attempt.refill.app_tag, attempt.refill.users or frozenset(), on_made, on_failed
        )

    def when_idle(self, on_idle: Callable[[], None]) -> None:
        """Call back once no attempt is under way."""
        self._on_idle = on_idle
        self._tell_if_idle()

    def _suspect(self, attempt: _Attempt, error: RewindSuspectedError) -> None:
        """Look again, once every give-back that could explain what the row says was heard of."""
        attempt.suspicions += 1
        if attempt.suspicions > _MAX_SUSPICIONS:
            self._end(attempt, error)
            return

        def look_again() -> None:
            if not attempt.abandoned:
                self._look(attempt, error)

        self._fleet.catch_up(lambda: self._fleet.when_able(look_again))

    def _claim(self, attempt: _Attempt, reservation: Reservation) -> None:
        attempt.reservation = reservation

        def on_done(ours: bool) -> None:  # noqa: FBT001  # a callback's one argument
            if ours:
                self._end(attempt, reservation)
            else:
                self._counters[Event.CLAIMS_CONTESTED] += 1
                segment = reservation.segment
                error = SegmentContestedError(attempt.refill.app_tag, segment.left, segment.right)
                self._end(attempt, error)

        attempt.claim = self._fleet.claim(attempt.watch, reservation.segment, on_done)

    def _note_rewind(self, attempt: _Attempt, reservation: Reservation) -> None:
        rewound = reservation.rewound_from is not None
        self._counters[Event.REWINDS_REPAIRED] += rewound  # so that health shows it, from 0
        if not rewound:
            return
        _log.warning(
            "The row of %s was rolled back to %d, below ids that were handed out up to %d (a "
            "restore, a failover or an edit); it is raised above them again",
            attempt.refill.app_tag,
            reservation.rewound_from,
            attempt.watch.floor,
        )

    def _end(self, attempt: _Attempt, result: Reservation | Exception) -> None:
        del self._attempts[attempt.refill.attempt]
        self._fleet.marks.unwatch(attempt.watch)
        self._lookups.ended(attempt.refill.attempt)
        self._record(RefillOutcome(attempt.refill, result, attempt.seconds))
        self._tell_if_idle()

    def _tell_if_idle(self) -> None:
        if self._on_idle is not None and not self._attempts:
            on_idle, self._on_idle = self._on_idle, None
            on_idle()
