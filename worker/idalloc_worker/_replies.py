"""Puts what the engine says into the contract's words: refusals, and health."""

from collections.abc import Sequence

from idalloc_schemas import (
    ALLOC_QUEUE,
    ALLOC_REPLY_TYPE,
    HEALTH_QUEUE,
    HEALTH_REPLY_TYPE,
    ErrorReply,
    HealthReply,
    TagHealth,
)
from idalloc_worker._effects import Refused
from idalloc_worker._tallies import Tallies

REPLY_TYPES = {ALLOC_QUEUE: ALLOC_REPLY_TYPE, HEALTH_QUEUE: HEALTH_REPLY_TYPE}
"""By the queue of the request."""

_MAX_TAGS_IN_HEALTH = 1000


def error_reply(refusal: Refused) -> ErrorReply:
    """Tell a caller why it gets nothing."""
    retry_after = refusal.retry_after
    return ErrorReply(
        resp_code=refusal.code,
        msg=refusal.msg,
        retry_after_ms=None if retry_after is None else round(retry_after * 1000),
    )


def health_reply(
    worker: str, tags: Sequence[TagHealth], tallies: Tallies, *, protected: bool
) -> HealthReply:
    """Describe a worker: its tags, of which a message holds so many, and what it counts."""
    return HealthReply(
        left=sum(tag.left for tag in tags),
        worker=worker,
        tags=list(tags[:_MAX_TAGS_IN_HEALTH]),
        tags_total=len(tags),
        protected=protected,
        database=tallies.database_reachable,
        counters=tallies.health_counters(),
    )
