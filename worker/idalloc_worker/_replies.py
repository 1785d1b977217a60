"""Puts what the engine says into the contract's words: refusals, and health."""

from idalloc_schemas import (
    ALLOC_QUEUE,
    ALLOC_REPLY_TYPE,
    HEALTH_QUEUE,
    HEALTH_REPLY_TYPE,
    ErrorReply,
    HealthReply,
)
from idalloc_worker._effects import Refused
from idalloc_worker._tag_health import Listing
from idalloc_worker._tallies import Tallies

REPLY_TYPES = {ALLOC_QUEUE: ALLOC_REPLY_TYPE, HEALTH_QUEUE: HEALTH_REPLY_TYPE}
"""By the queue of the request."""

_KEEPERS = {True: "broker", False: "workers", None: None}


def error_reply(refusal: Refused) -> ErrorReply:
    """Tell a caller why it gets nothing."""
    retry_after = refusal.retry_after
    return ErrorReply(
        resp_code=refusal.code,
        msg=refusal.msg,
        retry_after_ms=None if retry_after is None else round(retry_after * 1000),
    )


def health_reply(
    worker: str, listing: Listing, tallies: Tallies, *, protected: bool
) -> HealthReply:
    """Describe a worker: its tags, and what it counts."""
    return HealthReply(
        left=listing.left,
        worker=worker,
        tags=list(listing.tags),
        tags_total=listing.total,
        protected=protected,
        marks=_KEEPERS[tallies.marks_in_broker],
        database=tallies.database_reachable,
        counters=tallies.health_counters(),
    )
