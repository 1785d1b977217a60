"""The pure state machine: who gets which ids, and when a refill is due."""

from idalloc_worker.engine._effects import (
    REDIRECTED,
    TO_PERIOD,
    AbandonRefill,
    Answer,
    Answered,
    Denial,
    Effect,
    Expired,
    OverShare,
    Personal,
    Range,
    Redirected,
    Refused,
    ReservationRequest,
    StartRefill,
)
from idalloc_worker.engine._engine import Engine, EngineLimits
from idalloc_worker.engine._fair_share import COMPANY, places_for
from idalloc_worker.engine._pool import TagPool
from idalloc_worker.engine._refusals import INTERNAL, SHUTTING_DOWN, forbidden, over_share
from idalloc_worker.engine._tag_health import (
    LISTED,
    LISTED_TO_CALLERS,
    Listing,
    describe,
    without_database,
    without_details,
)

__all__ = [
    "COMPANY",
    "INTERNAL",
    "LISTED",
    "LISTED_TO_CALLERS",
    "REDIRECTED",
    "SHUTTING_DOWN",
    "TO_PERIOD",
    "AbandonRefill",
    "Answer",
    "Answered",
    "Denial",
    "Effect",
    "Engine",
    "EngineLimits",
    "Expired",
    "Listing",
    "OverShare",
    "Personal",
    "Range",
    "Redirected",
    "Refused",
    "ReservationRequest",
    "StartRefill",
    "TagPool",
    "describe",
    "forbidden",
    "over_share",
    "places_for",
    "without_database",
    "without_details",
]
