"""Says how a worker stands with its tags, in the contract's words."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from idalloc_schemas import RespCode, TagHealth, TagState
from idalloc_worker.engine._effects import Denial, Refused
from idalloc_worker.engine._pool import TagPool
from idalloc_worker.engine._refusal_memory import RefusalMemory

_DIGITS: Final = 3
"""A tag that is asked for less than one id in half an hour counts as unused."""

LISTED: Final = 1000
"""Tags in one answer. Each takes some microseconds to describe, and some 400 bytes of a message."""

LISTED_TO_CALLERS: Final = 100
"""Tags in one answer to somebody who is no operator, and may be anybody."""

_NO_DATABASE: Final = "the database could not be used when it was last needed"

_SEE_LOG: Final = "the last refill failed: see the worker's log"


@dataclass(frozen=True, slots=True)
class Listing:
    """The first tags in the order of their names, and what all of them come to."""

    tags: Sequence[TagHealth]
    total: int
    remaining: int

    @classmethod
    def of(cls, tag: TagHealth) -> "Listing":
        """List one tag."""
        return cls([tag], 1, tag.left)


def describe(pool: TagPool, now: float) -> TagHealth:
    """Describe a tag that is in memory."""
    rate = round(pool.rate(now), _DIGITS)
    return TagHealth(
        app_tag=pool.app_tag,
        state=_state(pool, now),
        left=pool.remaining,
        segments=list(pool.held()),
        step=pool.settings.step if pool.settings else 0,
        waiters=pool.waiters,
        ids_reserved=pool.reserved,
        ids_handed_out=pool.handed_out,
        ids_lost=pool.lost,
        ids_given_back=pool.given_back,
        refills=pool.refills,
        rate=rate,
        cover=round(pool.cover(now), _DIGITS) if rate else None,
        last_error=pool.last_error,
    )


def health_of(
    app_tag: str, pool: TagPool | None, refusals: RefusalMemory, now: float
) -> TagHealth | Refused:
    """Describe how it stands with a tag, or tell that there is no row for it."""
    refusal = refusal_in_force(pool, now) if pool else refusals.in_force(app_tag, now)
    if isinstance(refusal, Refused) and refusal.code is RespCode.APP_TAG_NOT_FOUND:
        return refusal
    return describe(pool, now) if pool else describe_unknown(app_tag, refusal)


def describe_unknown(app_tag: str, refusal: Denial | None) -> TagHealth:
    """Describe a tag of which no more is known than why it was refused, if it was."""
    if refusal is None:
        return TagHealth(app_tag=app_tag, state=TagState.COLD)
    outage = isinstance(refusal, Refused) and refusal.code is RespCode.NO_AVAILABLE_ID
    state = TagState.FAILING if outage else TagState.REFUSED
    return TagHealth(app_tag=app_tag, state=state, last_error=refusal.detail or refusal.msg)


def without_database(tag: TagHealth) -> TagHealth:
    """Say of a tag that nobody has asked for that its first ids cannot be had either."""
    if tag.state is not TagState.COLD:
        return tag
    return tag.model_copy(update={"state": TagState.FAILING, "last_error": _NO_DATABASE})


def without_details(tag: TagHealth, refusals: Iterable[Denial | None]) -> TagHealth:
    """Leave out what names database, table or row: that is for operators.

    `refusals` are what callers of the tag are told, if anything.
    """
    if tag.last_error is None:
        return tag
    told = next((refusal.msg for refusal in refusals if refusal is not None), _SEE_LOG)
    return tag.model_copy(update={"last_error": told})


def refusal_in_force(pool: TagPool, now: float) -> Denial | None:
    """Tell why the database has nothing for a tag, as long as that is not too old."""
    return pool.refusal if now < pool.retry_at else None


def _state(pool: TagPool, now: float) -> TagState:
    if refusal_in_force(pool, now) is not None:
        return TagState.REFUSED
    if pool.failures:
        return TagState.FAILING
    if pool.remaining:
        return TagState.READY
    return TagState.REFILLING if pool.attempt is not None else TagState.COLD
