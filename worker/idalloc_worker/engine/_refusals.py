"""Refusals in the engine's own words."""

from idalloc_schemas import RespCode
from idalloc_worker.engine._effects import OverShare, Refused

SHUTTING_DOWN = Refused(RespCode.SHUTTING_DOWN, "the worker is shutting down", 0.1)
INTERNAL = Refused(RespCode.INTERNAL, "internal error: see worker's log")


def too_many(most: int, where: str) -> Refused:
    """Say that a request asks for more than it may get."""
    return Refused(RespCode.INVALID_REQUEST, f"count: must be at most {most} {where}")


def busy(msg: str, retry_after: float) -> Refused:
    """Say that there is no place for a request now, whoever sent it."""
    return Refused(RespCode.BUSY, msg, retry_after)


def over_share(msg: str, retry_after: float) -> OverShare:
    """Say that a request is beyond its user's share."""
    return OverShare(RespCode.BUSY, msg, retry_after)


def forbidden(user: str | None) -> Refused:
    """Say why a user gets nothing."""
    if user is None:
        why = "this app_tag is reserved to certain users, and the request has no user_id property"
    else:
        why = "this user may not use this app_tag"
    return Refused(RespCode.FORBIDDEN, why)
