"""Refusals in the engine's own words."""

from idalloc_schemas import RespCode
from idalloc_worker._effects import Refused

SHUTTING_DOWN = Refused(RespCode.SHUTTING_DOWN, "the worker is shutting down", 0.1)
INTERNAL = Refused(RespCode.INTERNAL, "internal error: see worker's log")


def too_much_asked(retry_after: float) -> Refused:
    """Say that a user asks for more about health than is its share."""
    return Refused(RespCode.BUSY, "too many questions about health", max(retry_after, 0.1))


def forbidden(user: str | None) -> Refused:
    """Say why a user gets nothing."""
    if user is None:
        why = "this app_tag is for certain users only, and the request has no user_id property"
    else:
        why = "this user may not draw from this app_tag"
    return Refused(RespCode.FORBIDDEN, why)
