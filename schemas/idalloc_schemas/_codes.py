"""The result codes of a reply."""

from enum import IntEnum


class RespCode(IntEnum):
    """What became of a request: 0 is success, everything below is an error without an id."""

    SUCCESS = 0
    NO_AVAILABLE_ID = -1
    """The pool is empty and could not be refilled in time. A retry can help."""
    INVALID_REQUEST = -2
    """The message breaks the contract; `msg` says which field and why."""
    APP_TAG_NOT_FOUND = -3
    """The table has no row for the tag."""
    EXHAUSTED = -4
    """The id space of the tag is used up."""
    FORBIDDEN = -5
    """The user may not use this tag."""
    BUSY = -6
    """Too many requests wait for this tag, or the user exceeds its share. A retry can help."""
    SHUTTING_DOWN = -7
    """The worker is stopping and cannot answer. A retry reaches another one."""
    INTERNAL = -8
    """The worker or the tag's row is at fault; the worker's log says more."""
