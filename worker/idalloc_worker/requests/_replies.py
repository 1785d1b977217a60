"""Puts what the engine says into the contract's words: refusals, and health."""

from collections.abc import Generator
from typing import Final

from idalloc_schemas import (
    ALLOC_QUEUE,
    ALLOC_REPLY_TYPE,
    HEALTH_QUEUE,
    HEALTH_REPLY_TYPE,
    ErrorReply,
    HealthReply,
)
from idalloc_worker.counters import Counters
from idalloc_worker.engine import Listing, Refused

REPLY_TYPES = {ALLOC_QUEUE: ALLOC_REPLY_TYPE, HEALTH_QUEUE: HEALTH_REPLY_TYPE}
"""By the queue of the request."""

_WRITTEN: Final = 100
"""Tags in a slice of those that are written: some tenths of a millisecond."""

_NO_TAGS: Final = b'"tags":[]'

_KEEPERS = {True: "broker", False: "workers", None: None}


def error_reply(refusal: Refused) -> ErrorReply:
    """Tell a caller why it gets nothing."""
    retry_after = refusal.retry_after
    return ErrorReply(
        resp_code=refusal.code,
        msg=refusal.msg,
        retry_after_ms=None if retry_after is None else round(retry_after * 1000),
    )


def health_reply_in_slices(
    worker: str, listing: Listing, counters: Counters, *, protected: bool
) -> Generator[None, None, bytes]:
    """Write a reply with many tags; it pauses at each yield."""
    whole = Listing([], listing.total, listing.remaining)
    head, tail = _around_tags(health_reply(worker, whole, counters, protected=protected).encode())
    parts = list[bytes]()
    for start in range(0, len(listing.tags), _WRITTEN):
        tags = listing.tags[start : start + _WRITTEN]
        parts += [tag.model_dump_json(exclude_none=True).encode() for tag in tags]
        yield
    return head + b",".join(parts) + tail


def _around_tags(reply: bytes) -> tuple[bytes, bytes]:
    """Split a reply where its tags belong. In a string the quotes would be escaped."""
    head, _, tail = reply.partition(_NO_TAGS)
    return head + _NO_TAGS[:-1], _NO_TAGS[-1:] + tail


def health_reply(
    worker: str, listing: Listing, counters: Counters, *, protected: bool
) -> HealthReply:
    """Describe a worker: its tags, and what it counts."""
    return HealthReply(
        left=listing.remaining,
        worker=worker,
        tags=list(listing.tags),
        tags_total=listing.total,
        protected=protected,
        marks=_KEEPERS[counters.marks_in_broker],
        database=counters.database_reachable,
        counters=counters.for_health(),
    )
