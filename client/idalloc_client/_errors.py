"""What can go wrong for a caller, as types."""

import random
from typing import TYPE_CHECKING

import idalloc_schemas
from idalloc_schemas import RespCode

if TYPE_CHECKING:  # loads pydantic, and most callers see no error
    from idalloc_schemas import ErrorReply

_QUEUE_FULL_PAUSE_MS = (50, 150)


class IdAllocError(Exception):
    """Base of every error that a call raises."""


class NoRouteError(IdAllocError):
    """The broker has no such queue: no worker has ever run on this virtual host.

    Or it has no such exchange, or none that is bound to the queue, where one is named.
    """

    def __init__(self, queue: str, exchange: str = "") -> None:
        super().__init__(
            f"the exchange {exchange!r} is missing or leads to no queue {queue!r}: idalloc "
            "broker-setup makes both; or check the virtual host"
            if exchange
            else f"the broker has no queue {queue!r}: start a worker, or check the virtual host"
        )
        self.queue = queue
        self.exchange = exchange


class CallTimeoutError(IdAllocError, TimeoutError):
    """No answer came before the call's deadline, although the broker was reachable."""


class AccessRefusedError(IdAllocError, PermissionError):
    """The broker refuses this user the right to send: to write to the exchange for requests."""


class ConnectionLostError(IdAllocError, ConnectionError):
    """The call's deadline passed while there was no connection to the broker."""


class ClientClosedError(IdAllocError):
    """The client was closed before or during the call."""


class ForkedClientError(IdAllocError):
    """The call was made in a forked child, and belongs to what only the parent has.

    It was in flight at the fork, or its event loop is the one that the parent runs. Calls that a
    child makes otherwise work.
    """

    def __init__(self) -> None:
        super().__init__(
            "this process was forked during the call, or runs its parent's event loop: call again, "
            "on a loop of its own"
        )


class TooManyCallsError(IdAllocError):
    """More calls are in flight in this client than `max_in_flight` allows."""


class BadReplyError(IdAllocError):
    """A reply broke the contract: the worker is faulty, or another program."""


class RefusedError(IdAllocError):
    """A worker answered with an error code.

    `retry_after` is in seconds, and None where a retry cannot help.
    """

    def __init__(self, reply: "ErrorReply", app_tag: str | None = None) -> None:
        about = f" (app_tag {app_tag!r})" if app_tag is not None else ""
        super().__init__(f"{reply.msg}{about}")
        self.code = reply.code
        self.msg = reply.msg
        self.app_tag = app_tag
        ms = reply.retry_after_ms
        self.retry_after = None if ms is None else ms / 1000


class NoAvailableIdError(RefusedError):
    """The worker ran out of ids and could not get more in time: its database is in trouble."""


class InvalidRequestError(RefusedError):
    """The request breaks the contract; the text names the field and the reason."""


class AppTagNotFoundError(RefusedError):
    """The table has no row for the tag."""


class ExhaustedError(RefusedError):
    """The id space of the tag is used up."""


class ForbiddenError(RefusedError):
    """The user of this connection may not use the tag."""


class BusyError(RefusedError):
    """Too many requests wait for the tag, or this user exceeds its share."""


class QueueFullError(BusyError):
    """The broker refused the request: the queue holds as many as its policy allows."""

    def __init__(self, reply: "ErrorReply | None" = None, app_tag: str | None = None) -> None:
        super().__init__(reply or _queue_full(), app_tag)


class ShuttingDownError(RefusedError):
    """The worker was stopping, and the deadline left no time to ask another one."""


class WorkerError(RefusedError):
    """The worker or the tag's row is at fault; the worker's log says more."""


def _queue_full() -> "ErrorReply":
    # Not the same for all: else those who were refused together would come back together.
    pause = random.randint(*_QUEUE_FULL_PAUSE_MS)  # noqa: S311  # nobody gains by guessing it
    return idalloc_schemas.ErrorReply(
        resp_code=RespCode.BUSY,
        msg="the queue for requests is full, so the broker did not take this one",
        retry_after_ms=pause,
    )


_BY_CODE: dict[RespCode, type[RefusedError]] = {
    RespCode.NO_AVAILABLE_ID: NoAvailableIdError,
    RespCode.INVALID_REQUEST: InvalidRequestError,
    RespCode.APP_TAG_NOT_FOUND: AppTagNotFoundError,
    RespCode.EXHAUSTED: ExhaustedError,
    RespCode.FORBIDDEN: ForbiddenError,
    RespCode.BUSY: BusyError,
    RespCode.SHUTTING_DOWN: ShuttingDownError,
    RespCode.INTERNAL: WorkerError,
}


def refused(reply: "ErrorReply", app_tag: str | None) -> RefusedError:
    """Turn an error reply into the error to raise."""
    return _BY_CODE.get(reply.code, WorkerError)(reply, app_tag)


def unexpected(error: Exception) -> IdAllocError:
    """Tell a caller of a failure that nobody thought of."""
    told = IdAllocError(f"the client failed unexpectedly: {type(error).__name__}")
    told.__cause__ = error
    return told


def fresh(error: IdAllocError) -> IdAllocError:
    """Copy an error for one more caller: a raised exception carries its caller's traceback."""
    copy = type(error).__new__(type(error), *error.args)
    copy.args = error.args
    copy.__dict__.update(error.__dict__)
    copy.__cause__ = error.__cause__
    return copy
