"""What one worker process counts about itself, for `id.health` and for Prometheus.

Everything starts at 0 with the process and is owned by its I/O thread. Counters only rise.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Final

from idalloc_client.histogram import Histogram
from idalloc_schemas import ALLOC_QUEUE, HEALTH_QUEUE, RespCode
from idalloc_worker.counters._user_counts import UserCounts
from idalloc_worker.store import NotBegunError, RefillOutcome, Reservation
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

GRANTED: Final = "granted"
ANSWERED: Final = "answered"
EXPIRED: Final = "expired"
DEAD_LETTERED: Final = "dead_lettered"
HANDED_BACK: Final = "handed_back"
DOUBTED: Final = "doubted"
DROPPED: Final = "dropped"
LIMITED: Final = "limited"
"""BUSY for what its user asks for; `busy` is what would have happened to anybody."""

ORDERED_QUEUES: Final = "id.ordered"
"""All of them together. What comes in on them came in on `id.alloc` before, and is counted there:
but not what no worker wrote."""

_REFUSALS: Final = {code: code.name.lower() for code in RespCode if code is not RespCode.SUCCESS}
OUTCOMES: Final[Mapping[str, tuple[str, ...]]] = {
    ALLOC_QUEUE: (
        *(GRANTED, *_REFUSALS.values(), LIMITED),
        *(EXPIRED, DEAD_LETTERED, HANDED_BACK, DOUBTED),
    ),
    HEALTH_QUEUE: (
        ANSWERED,
        *(_REFUSALS[code] for code in (RespCode.INVALID_REQUEST, RespCode.APP_TAG_NOT_FOUND)),
        *(_REFUSALS[code] for code in (RespCode.FORBIDDEN, RespCode.INTERNAL)),
        LIMITED,
        EXPIRED,
        DEAD_LETTERED,
        DROPPED,
    ),
    ORDERED_QUEUES: (DEAD_LETTERED,),
}
"""How a request of each queue can end; shown from 0 on, so that the first one is a rise."""


def _one_word(reason: StoreReason) -> str:
    return reason.replace(" ", "_").replace("-", "_")


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

REFILL_FAILURES: Final = (*map(_one_word, StoreReason), *_FAILURES.values(), _UNEXPECTED)
"""Why a refill gave no ids."""

EVENTS: Final = (
    *("requests", "redelivered", "waited", "connects", "blocked"),
    *("refills", "refills_failed", "refills_refused", "refills_unknown", "rewinds_repaired"),
    *("claims_contested", "claims_unprotected", "give_backs", "give_backs_failed"),
    *("overlaps_heard", "memory_set_back", "marks_unread", "marks_implausible", "fleet_gaps"),
    *("foreign_messages", "forwarded", "owned", "unroutable", "generations", "poison_set_aside"),
)


class Tallies:
    """The counters, and the few states that go with them."""

    def __init__(self) -> None:
        self.outcomes: dict[str, Counter[str]] = {queue: Counter() for queue in OUTCOMES}
        self.events: Counter[str] = Counter()
        self.limited = UserCounts()
        """Requests beyond the share of their user, by user."""
        self.latency = Histogram(REQUEST_BOUNDS)
        """From the delivery of a request on `id.alloc` until its reply is written."""
        self.refill_time = Histogram(REFILL_BOUNDS)
        self.refill_failures: Counter[str] = Counter()
        self.connected = False
        self.blocked = False
        self.database_reachable: bool | None = None
        """What the last refill found; None before the first."""
        self.marks_in_broker: bool | None = None
        """Whether the broker remembers what was reserved; None before that is known."""

    def health_counters(self) -> dict[str, int]:
        """Name what has happened so far as `id.health` shows it, both queues together."""
        shown = self.events.copy()
        for outcomes in self.outcomes.values():
            shown.update(outcomes)
        return dict(shown)

    def connected_again(self) -> None:
        """Note a channel that is ready."""
        self.events["connects"] += 1
        self.connected, self.blocked = True, False

    def set_blocked(self, *, blocked: bool) -> None:
        """Note whether the broker lets the worker publish."""
        self.events["blocked"] += blocked
        self.blocked = blocked

    def refilled(self, outcome: RefillOutcome, events: Mapping[str, int]) -> None:
        """Note how a refill ended; `events` are what `record_outcome` made of it."""
        self.events.update(events)
        result = outcome.result
        if not isinstance(result, NotBegunError):
            self.refill_time.observe(outcome.seconds)
            if isinstance(result, StoreUnavailableError):
                self.database_reachable = False
            elif isinstance(result, (Reservation, StoreError)):
                self.database_reachable = True
        if isinstance(result, Exception):
            self.refill_failures[failure_reason(result)] += 1


def failure_reason(error: Exception) -> str:
    """Name why a refill gave no ids: one of `REFILL_FAILURES`."""
    if isinstance(error, StoreUnavailableError):
        return _one_word(error.reason)
    return _FAILURES.get(type(error), _UNEXPECTED)
