"""What one worker process counts about itself, for `id.health` and for Prometheus.

Everything starts at 0 with the process and is owned by its I/O thread. Counters only rise.
"""

from collections.abc import Mapping
from typing import Final

from idalloc_client.histogram import Histogram
from idalloc_schemas import ALLOC_QUEUE, HEALTH_QUEUE
from idalloc_worker.counters._registry import ORDERED_QUEUES, Event, Outcome
from idalloc_worker.counters._user_counts import UserCounts
from idalloc_worker.store import NotBegunError, RefillOutcome
from idalloc_worker.tags import (
    InvalidRowError,
    MarkImplausibleError,
    MarksNotVouchedError,
    RewindSuspectedError,
    SegmentContestedError,
    StoreError,
    StoreReason,
    StoreUnavailableError,
    TagExhaustedError,
    TagIsOrderedError,
    TagNotFoundError,
)

REQUEST_BOUNDS: Final = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025),
    *(0.05, 0.1, 0.25, 0.5, 1.0, 2.5),
)
"""Upper bounds in seconds: answers from memory lie far left, those that wait for a refill right."""

REFILL_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Upper bounds in seconds; IDALLOC_REFILL_TIMEOUT, 2 s by default, ends an attempt."""


_FAILURES: Final[Mapping[type[Exception], str]] = {
    TagNotFoundError: "app_tag_not_found",
    TagExhaustedError: "exhausted",
    InvalidRowError: "invalid_row",
    TagIsOrderedError: "ordered",
    SegmentContestedError: "contested",
    RewindSuspectedError: "row_moves",
    MarksNotVouchedError: "not_vouched",
    MarkImplausibleError: "implausible_mark",
    NotBegunError: "not_begun",
}
_UNEXPECTED: Final = "unexpected"
_OF_WRITES: Final = frozenset(
    {StoreReason.READ_ONLY, StoreReason.NOT_WRITABLE, StoreReason.LOCK_WAIT_TIMEOUT}
)

REFILL_FAILURES: Final = (
    *(reason.name.lower() for reason in StoreReason),
    *(*_FAILURES.values(), _UNEXPECTED),
)
"""Why a refill gave no ids."""


Events = dict[Event, int]
"""How often each has happened."""


class Counters:
    """The counters, and the few states that go with them."""

    def __init__(self) -> None:
        self.outcomes = {
            queue: dict.fromkeys(Outcome, 0)
            for queue in (ALLOC_QUEUE, HEALTH_QUEUE, ORDERED_QUEUES)
        }
        self.events: Events = dict.fromkeys(Event, 0)
        self.limited = UserCounts()
        """Requests beyond the share of their user, by user."""
        self.latency = Histogram(REQUEST_BOUNDS)
        """From the delivery of a request on `id.alloc` until its reply is written."""
        self.refill_time = Histogram(REFILL_BOUNDS)
        self.refill_failures = dict.fromkeys(REFILL_FAILURES, 0)
        self.connected = False
        self.consuming = False
        """Whether requests for ids come in; set by who consumes them."""
        self.blocked = False
        self.database_reachable: bool | None = None
        """Whether the database could be used when it was last needed; None before that."""
        self.database_answers = 0
        """Times that it could."""
        self._cannot_write = False  # as the last refill found
        self.marks_in_broker: bool | None = None
        """Whether the broker remembers what was reserved; None before that is known."""

    def for_health(self) -> dict[str, int]:
        """Name all counters as `id.health` shows them, the queues together."""
        events = {one.value: count for one, count in self.events.items()}
        ended = self.outcomes.values()
        return events | {one.value: sum(counts[one] for counts in ended) for one in Outcome}

    def ends(self) -> dict[str, dict[str, int]]:
        """Tell by queue how requests ended, with 0 for what can be expected there."""
        return {
            queue: {one.value: ended[one] for one in Outcome if ended[one] or queue in one.queues}
            for queue, ended in self.outcomes.items()
        }

    def connected_again(self) -> None:
        """Note a channel that is ready."""
        self.events[Event.CONNECTS] += 1
        self.connected, self.blocked = True, False

    def disconnected(self) -> None:
        """Note that there is no channel any more."""
        self.connected = self.consuming = False

    def set_blocked(self, *, blocked: bool) -> None:
        """Note whether the broker lets the worker publish."""
        self.events[Event.BLOCKED] += blocked
        self.blocked = blocked

    def refilled(self, outcome: RefillOutcome, events: Mapping[Event, int]) -> None:
        """Note how a refill ended; `events` are what `record_outcome` made of it."""
        for event, count in events.items():
            self.events[event] += count
        result = outcome.result
        if not isinstance(result, NotBegunError):
            self.refill_time.observe(outcome.seconds)
            self._cannot_write = failed_to_write(result)
            self.database_used(result)
        if isinstance(result, Exception):
            self.refill_failures[failure_reason(result)] += 1

    def database_used(self, result: object) -> None:
        """Note what came of asking the database: an error, or whatever else it answered."""
        answered = isinstance(result, StoreError) or not isinstance(result, Exception)
        if isinstance(result, StoreUnavailableError):
            self.database_reachable = False
        elif answered:
            # That a host can be read says nothing of whether it takes writes.
            self.database_reachable = not self._cannot_write
            self.database_answers += not self._cannot_write


def failed_to_write(result: object) -> bool:
    """Tell whether a refill failed on a database that can be read all the same."""
    return isinstance(result, StoreUnavailableError) and result.reason in _OF_WRITES


def failure_reason(error: Exception) -> str:
    """Name why a refill gave no ids: one of `REFILL_FAILURES`."""
    if isinstance(error, StoreUnavailableError):
        return error.reason.name.lower()
    return _FAILURES.get(type(error), _UNEXPECTED)
