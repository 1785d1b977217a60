"""Translates what the store says into the engine's and the operator's words."""

import logging

from idalloc_schemas import RespCode
from idalloc_worker.counters import Event, ThrottledLog
from idalloc_worker.engine import (
    INTERNAL,
    REDIRECTED,
    TO_PERIOD,
    Denial,
    Engine,
    Personal,
    Refused,
    StartRefill,
    over_share,
)
from idalloc_worker.store import NotBegunError, RefillOutcome, Reservation
from idalloc_worker.tags import (
    InvalidRowError,
    MarkImplausibleError,
    MarksNotVouchedError,
    NewTagForbiddenError,
    OutcomeUnknownError,
    PeriodNotBegunError,
    SegmentContestedError,
    TagError,
    TagExhaustedError,
    TagHasPeriodsError,
    TagIsOrderedError,
    TagNotFoundError,
    TooManyNewTagsError,
)

_log = logging.getLogger("idalloc.refill")

_NOT_THE_OPERATORS = (
    TagNotFoundError,
    TagIsOrderedError,
    TagHasPeriodsError,
    TooManyNewTagsError,
)

_LOOK_AGAIN = 1.0  # seconds

# What callers are told names no row: whoever asks may not be one who may draw.
_UNCERTAIN = (
    "no available id: it is not certain which ids of this app_tag were handed out, and an operator "
    "has to say; see the worker's log"
)
_BAD_ROW = "the row of this app_tag is invalid: see the worker's log"


def record_outcome(
    engine: Engine, outcome: RefillOutcome, now: float, log: ThrottledLog
) -> dict[Event, int]:
    """Tell the engine how a refill ended, log what an operator should know, return the counts."""
    refill, result = outcome.refill, outcome.result
    if isinstance(result, Reservation):
        return _record_reservation(engine, refill, result, now, log)
    if isinstance(result, PeriodNotBegunError):  # the next request may find that it has
        engine.redirect(refill.app_tag, now, TO_PERIOD)
        engine.refill_failed(refill.attempt, str(result), now)
        return {Event.REFILLS_REFUSED: 1}
    if isinstance(result, TagError):
        if not isinstance(result, _NOT_THE_OPERATORS):
            log.warning(now, "refused", "No ids: %s", result)
        settings = result.settings if isinstance(result, TagExhaustedError) else None
        engine.refill_refused(refill.attempt, _refusal(result), now, settings)
        return {Event.REFILLS_REFUSED: 1}
    unknown = isinstance(result, OutcomeUnknownError)
    lost = 0
    if isinstance(result, OutcomeUnknownError | SegmentContestedError):
        lost = result.possibly_reserved
    engine.refill_failed(refill.attempt, str(result), now, possibly_reserved=lost)
    if not isinstance(result, NotBegunError):
        log.warning(now, "refill failed", "Refill of %s failed: %s", refill.app_tag, result)
    return {Event.REFILLS_FAILED: 1, Event.REFILLS_UNKNOWN: int(unknown)}


def _record_reservation(
    engine: Engine, refill: StartRefill, reservation: Reservation, now: float, log: ThrottledLog
) -> dict[Event, int]:
    segment = reservation.segment
    if not segment.size:
        engine.settings_arrived(refill.attempt, reservation.settings, now)
        return {Event.REFILLS_FORBIDDEN: 1}
    accepted = engine.segment_arrived(refill.attempt, segment, reservation.settings, now)
    if not accepted:
        log.warning(
            now,
            "late segment",
            "A segment of %s came too late: %d ids are lost",
            refill.app_tag,
            segment.size,
        )
    _warn_of_the_end(engine, refill.app_tag)
    return {Event.REFILLS: 1}


def _warn_of_the_end(engine: Engine, app_tag: str) -> None:
    """Log that half of a tag's ids are used up, and when few are left: each once per worker."""
    pool = engine.by_tag.get(app_tag)
    used = None if pool is None else pool.space_warning()
    if used is not None:
        _log.warning(
            "%.1f %% of the id space of %s is used up: its mark is %d, and ids end at %d",
            used.percent,
            app_tag,
            used.mark,
            used.end - 1,
        )


def _refusal(error: TagError) -> Denial:
    refusal: Denial = Refused(RespCode.INTERNAL, INTERNAL.msg, detail=str(error))
    match error:
        case NewTagForbiddenError():
            refusal = Personal(RespCode.APP_TAG_NOT_FOUND, "app_tag not found")
        case TagNotFoundError():
            refusal = Refused(RespCode.APP_TAG_NOT_FOUND, "app_tag not found")
        case TooManyNewTagsError(retry_after=seconds):
            refusal = over_share("too many new app_tags of this user", seconds)
        case TagExhaustedError():
            refusal = Refused(RespCode.EXHAUSTED, "the id space of this app_tag is used up")
        case TagIsOrderedError():
            refusal = REDIRECTED
        case TagHasPeriodsError():
            refusal = TO_PERIOD
        case MarksNotVouchedError() | MarkImplausibleError():
            refusal = Refused(RespCode.NO_AVAILABLE_ID, _UNCERTAIN, _LOOK_AGAIN, str(error))
        case InvalidRowError():
            detail = f"the row of this app_tag is invalid: {error.problem}"
            refusal = Refused(RespCode.INTERNAL, _BAD_ROW, detail=detail)
    return refusal
