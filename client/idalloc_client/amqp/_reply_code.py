"""With which code a broker closes a channel or a connection (AMQP 0-9-1, section 1.2)."""

from enum import IntEnum


class ReplyCode(IntEnum):
    """Those that something here depends on; the broker has more."""

    ACCESS_REFUSED = 403
    NOT_FOUND = 404
    PRECONDITION_FAILED = 406
    NOT_ALLOWED = 530
    INTERNAL_ERROR = 541
