"""What a worker counts, and how refills end."""

from collections import Counter

import pytest

from idalloc_worker.counters._counters import REFILL_FAILURES, Counters, failure_reason
from idalloc_worker.counters._registry import Event, Outcome
from idalloc_worker.engine._effects import StartRefill
from idalloc_worker.store._reservation import Reservation
from idalloc_worker.store._threads import NotBegunError, RefillOutcome
from idalloc_worker.tags._errors import (
    InvalidRowError,
    OutcomeUnknownError,
    RewindSuspectedError,
    SegmentContestedError,
    StoreReason,
    StoreUnavailableError,
    TagIsOrderedError,
    TagNotFoundError,
)
from idalloc_worker.tags._segment import Segment
from idalloc_worker.tags._settings import TagExhaustedError, TagSettings

REFILL = StartRefill("order", 1, 0, attempt=1)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        *((StoreUnavailableError(reason, "no"), reason.name.lower()) for reason in StoreReason),
        (
            OutcomeUnknownError(StoreReason.TIMEOUT, "no", possibly_reserved=5),
            "timeout",
        ),
        (TagNotFoundError("order"), "app_tag_not_found"),
        (TagExhaustedError("order"), "exhausted"),
        (InvalidRowError("order", "step is 0"), "invalid_row"),
        (SegmentContestedError("order", 5, 9), "contested"),
        (RewindSuspectedError("order", 5, 9), "row_moves"),
        (TagIsOrderedError("order"), "ordered"),
        (NotBegunError(), "not_begun"),
        (ZeroDivisionError(), "unexpected"),
    ],
)
def test_each_failure_has_a_reason(error: Exception, reason: str) -> None:
    """A reason is one word of a fixed list, which is shown from 0 on."""
    assert failure_reason(error) == reason
    assert reason in REFILL_FAILURES


def test_the_database_is_reachable_if_it_answers() -> None:
    """An answer about a tag is one; what never reached it says nothing."""
    counters = Counters()
    for outcome, reachable in (
        (NotBegunError(), None),
        (StoreUnavailableError(StoreReason.UNREACHABLE, "no"), False),
        (NotBegunError(), False),
        (TagNotFoundError("order"), True),
        (StoreUnavailableError(StoreReason.READ_ONLY, "no"), False),
        (Reservation(Segment(1, 2), TagSettings(step=1)), True),
        (StoreUnavailableError(StoreReason.READ_ONLY, "no"), False),
        (SegmentContestedError("order", 5, 9), True),
    ):
        counters.refilled(RefillOutcome(REFILL, outcome, 0.1), {})
        assert counters.database_reachable is reachable
    assert sum(counters.refill_time.counts) == 6, "two never reached it"


def test_a_look_at_the_database_is_a_use_of_it() -> None:
    """But one that can be read, and took no write when it was last asked to, cannot be used."""
    counters, reads = Counters(), dict[str, int]()
    counters.database_used(TimeoutError("what is that?"))
    assert counters.database_reachable is None
    counters.database_used(StoreUnavailableError(StoreReason.UNREACHABLE, "no"))
    assert counters.database_reachable is False
    counters.database_used(reads)
    assert counters.database_reachable is True
    for reason, after in ((StoreReason.LOST_CONNECTION, True), (StoreReason.READ_ONLY, False)):
        counters.refilled(RefillOutcome(REFILL, StoreUnavailableError(reason, "no"), 0.1), {})
        assert counters.database_reachable is False
        counters.database_used(reads)
        assert counters.database_reachable is after
    answers = counters.database_answers
    granted = Reservation(Segment(1, 2), TagSettings(step=1))
    counters.refilled(RefillOutcome(REFILL, granted, 0.1), {})
    assert counters.database_reachable is True
    assert counters.database_answers == answers + 1


def test_health_shows_both_queues_together() -> None:
    """The counters of `id.health` are flat, and all there from 0."""
    counters = Counters()
    counters.events[Event.REQUESTS] += 3
    for queue, outcome in (
        ("id.alloc", Outcome.GRANTED),
        ("id.alloc", Outcome.INVALID_REQUEST),
        ("id.health", Outcome.INVALID_REQUEST),
    ):
        counters.outcomes[queue][outcome] += 1
    shown = counters.for_health()
    assert [*shown] == [*Event, *Outcome]
    assert +Counter(shown) == {"requests": 3, "granted": 1, "invalid_request": 2}


def test_blocked_ends_with_the_channel() -> None:
    """A new channel begins unblocked: a broker that still blocks says so again."""
    counters = Counters()
    counters.connected_again()
    counters.set_blocked(blocked=True)
    assert counters.blocked
    counters.connected_again()
    assert (counters.blocked, counters.events[Event.BLOCKED], counters.events[Event.CONNECTS]) == (
        False,
        1,
        2,
    )
