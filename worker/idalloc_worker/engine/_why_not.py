"""Says why a request gets no ids now; pure looks at one tag."""

from typing import Final

from idalloc_schemas import RespCode
from idalloc_worker.engine._effects import Denial, Refused
from idalloc_worker.engine._limits import EngineLimits
from idalloc_worker.engine._pool import TagPool, Waiter
from idalloc_worker.engine._refusals import busy, forbidden, over_share, too_many
from idalloc_worker.tags import Segment

OVER_RATE: Final = "this user draws more ids from this app_tag than it may"
_NEXT_MS: Final = 0.001  # seconds, so that a retry does not come a moment too early


def below(segment: Segment, mark: int) -> str:
    """Say why a segment is not taken in."""
    span = f"[{segment.left}, {segment.right})"
    return f"segment {span} begins below an id that was handed out already ({mark})"


def over_limit(pool: TagPool, request: Waiter, now: float) -> Refused | None:
    """Refuse what is more than one request, or one user, may get, as far as that is known."""
    if pool.settings is None:
        return None
    if request.count > pool.max_count:
        return too_many(pool.max_count, "for this app_tag")
    debt = pool.debt(request.user, request.count, now)
    return over_share(OVER_RATE, debt + _NEXT_MS) if debt else None


def no_available_id(pool: TagPool, limits: EngineLimits, now: float) -> Refused:
    """Say that there are none now, and when the next refill may have brought some."""
    retry_after = max(pool.retry_at - now, limits.backoff_base)
    return Refused(RespCode.NO_AVAILABLE_ID, "no available id", retry_after, pool.last_error)


def no_reason_to_wait(
    pool: TagPool, request: Waiter, limits: EngineLimits, now: float
) -> Denial | None:
    """Say why a request that cannot be served from memory should not even wait."""
    if not pool.allows(request.user):
        return forbidden(request.user)
    if refusal := over_limit(pool, request, now):
        return refusal
    if pool.waiters >= limits.max_waiters:
        return busy("too many requests wait for this app_tag", limits.backoff_base)
    if pool.attempt is not None or now >= pool.retry_at or pool.waiters:
        return None
    if pool.refusal is not None:
        return pool.refusal
    return no_available_id(pool, limits, now) if pool.failures >= limits.max_failures else None
