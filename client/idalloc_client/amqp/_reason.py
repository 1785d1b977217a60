"""Says why a connection or a channel was lost: in a few words, or with the broker's code."""

import re
from enum import IntEnum

from pika import exceptions

from idalloc_client._memory import MemoryRestoredError


class ReplyCode(IntEnum):
    """With which code a broker closes either (AMQP 0-9-1, section 1.2); those that matter here."""

    ACCESS_REFUSED = 403
    NOT_FOUND = 404
    PRECONDITION_FAILED = 406
    NOT_ALLOWED = 530
    INTERNAL_ERROR = 541


_NOT_ALLOWED = re.compile(r"NOT_ALLOWED - ([^\\\"]+)")

_QUOTE = "'"

_WORDS = {
    exceptions.AuthenticationError: "the broker refused the user or password",
    exceptions.ProbableAuthenticationError: "the broker refused the user or password",
    exceptions.ProbableAccessDeniedError: "the broker refused access to the virtual host",
    exceptions.AMQPHeartbeatTimeout: "no heartbeat from the broker",
    exceptions.StreamLostError: "the connection broke",
    MemoryRestoredError: "the memory of this process was rolled back",
}


def describe(reason: BaseException | None) -> str:
    """Name the cause for a log line or an error message. It never holds a credential."""
    if reason is None:
        return "not connected yet"
    if isinstance(reason, exceptions.ConnectionClosed | exceptions.ChannelClosed):
        return f"closed with {reason.reply_code} {reason.reply_text}"
    for kind, words in _WORDS.items():
        if isinstance(reason, kind):
            return words + _told_by_broker(reason)
    return _first_os_error(reason) or type(reason).__name__


def _told_by_broker(reason: BaseException) -> str:
    """Find which limit was reached, or what does not exist, in the repr that pika keeps."""
    found = _NOT_ALLOWED.search(str(reason))
    if found is None:
        return ""
    told = found[1]
    return f" ({told.removesuffix(_QUOTE) if told.count(_QUOTE) % 2 else told})"


def _first_os_error(reason: BaseException) -> str | None:
    """Find the system's own words in pika's nested errors."""
    pending: list[object] = [reason]
    while pending:
        error = pending.pop()
        if isinstance(error, OSError):
            return error.strerror or type(error).__name__
        if isinstance(error, BaseException):
            pending += [*error.args, *getattr(error, "exceptions", ())]
            pending += [getattr(error, "exception", None), error.__cause__]
    return None


def ended_by_message(reason: BaseException) -> bool:
    """Tell whether the broker closed a connection over something that it could not cope with.

    It says otherwise (320) when it stops or restarts.
    """
    return isinstance(reason, exceptions.ConnectionClosedByBroker) and (
        reason.reply_code == ReplyCode.INTERNAL_ERROR
    )
