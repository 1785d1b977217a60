"""Says how a worker stands with its tags, in the contract's words."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from idalloc_schemas import RespCode, TagHealth, TagState
from idalloc_worker._effects import Refused
from idalloc_worker._pool import TagPool

_DIGITS: Final = 3
"""A tag that is asked for less than one id in half an hour counts as unused."""

LISTED: Final = 1000
"""Tags in one answer. Each takes some microseconds to describe, and some 200 bytes of a message."""


@dataclass(frozen=True, slots=True)
class Listing:
    """The first tags in the order of their names, and what all of them come to."""

    tags: Sequence[TagHealth]
    total: int
    left: int

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
        left=pool.left,
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


def describe_unknown(app_tag: str, refusal: Refused | None) -> TagHealth:
    """Describe a tag of which no more is known than why it was refused, if it was."""
    if refusal is None:
        return TagHealth(app_tag=app_tag, state=TagState.COLD)
    outage = refusal.code is RespCode.NO_AVAILABLE_ID
    state = TagState.FAILING if outage else TagState.REFUSED
    return TagHealth(app_tag=app_tag, state=state, last_error=refusal.msg)


def refusal_in_force(pool: TagPool, now: float) -> Refused | None:
    """Tell why the database has nothing for a tag, as long as that is not too old."""
    return pool.refusal if now < pool.retry_at else None


def _state(pool: TagPool, now: float) -> TagState:
    if refusal_in_force(pool, now) is not None:
        return TagState.REFUSED
    if pool.failures:
        return TagState.FAILING
    if pool.left:
        return TagState.READY
    return TagState.REFILLING if pool.attempt is not None else TagState.COLD
