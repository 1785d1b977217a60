"""One request and how to read its reply: pure, so that every kind of client shares it."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

import idalloc_schemas as contract
from idalloc_client._batch import IdBatch
from idalloc_client._errors import BadReplyError, InvalidRequestError, refused

if TYPE_CHECKING:  # they load pydantic, which what is usual does without
    from idalloc_schemas import AllocReply, ErrorReply, HealthReply

_Result = TypeVar("_Result")


class RawReply(NamedTuple):
    """A reply as it came; `worker` is its `app_id`, or empty."""

    body: bytes
    worker: str


class RequestSpec(NamedTuple, Generic[_Result]):
    """A request ready to be sent; `read` turns the reply into the result or raises."""

    queue: str
    message_type: str
    body: bytes
    read: Callable[[RawReply], _Result]


def alloc_request(app_tag: str, count: int) -> RequestSpec[IdBatch]:
    """Ask for `count` ids of a tag; both have passed `check_draw`, or are sums of what has."""

    def read(raw: RawReply) -> IdBatch:
        period, usual = None, contract.read_alloc_success(raw.body)
        if usual is not None:
            ranges, queue = usual
        else:
            reply = _checked(contract.parse_alloc_reply, raw.body, app_tag)
            ranges, queue = reply.ranges, reply.queue
            period = None if reply.period is None else contract.Period.parse(reply.period)
        got = sum(right - left for left, right in ranges)
        if got != count:
            raise BadReplyError(f"asked for {count} ids of {app_tag!r}, got {got}")
        ids = IdBatch(ranges, raw.worker, period, app_tag)
        if queue is not None and queue.startswith(contract.ORDERED_QUEUE_PREFIX):
            ids.shortcut = queue
        return ids

    body = contract.encode_alloc_request(app_tag, count)
    return RequestSpec(contract.ALLOC_QUEUE, contract.ALLOC_REQUEST_TYPE, body, read)


def prepare_for_refusals() -> None:
    """Load what unusual replies need, which takes too long for a loop that serves others too."""
    getattr(contract, "parse_alloc_reply")  # noqa: B009  # it is the look-up that loads it


def check_draw(app_tag: str, count: int = 1) -> None:
    """Raise `InvalidRequestError` unless the contract allows this."""
    if contract.is_app_tag(app_tag) and type(count) is int and 1 <= count <= contract.MAX_ID:
        return
    try:
        contract.check_alloc_request(app_tag, count)
    except contract.InvalidMessageError as error:
        raise _invalid(error, app_tag) from None


def health_request(app_tag: str | None, *, fleet: bool = False) -> "RequestSpec[HealthReply]":
    """Ask how a worker stands, or each of them. Raises `InvalidRequestError` before it is sent."""
    try:
        request = contract.make_health_request(app_tag, fleet=fleet)
    except contract.InvalidMessageError as error:
        raise _invalid(error, app_tag) from None

    def read(raw: RawReply) -> "HealthReply":
        return _checked(contract.parse_health_reply, raw.body, app_tag)

    body = request.encode()
    return RequestSpec(contract.HEALTH_QUEUE, contract.HEALTH_REQUEST_TYPE, body, read)


_Reply = TypeVar("_Reply", "AllocReply", "HealthReply")


def _checked(
    parse: "Callable[[bytes], _Reply | ErrorReply]", body: bytes, app_tag: str | None
) -> _Reply:
    try:
        reply = parse(body)
    except contract.InvalidMessageError as error:
        raise BadReplyError(f"the reply breaks the contract: {error}") from None
    if isinstance(reply, contract.ErrorReply):
        raise refused(reply, app_tag)
    return reply


def _invalid(error: ValueError, app_tag: object) -> InvalidRequestError:
    reply = contract.ErrorReply(resp_code=contract.RespCode.INVALID_REQUEST, msg=str(error))
    return InvalidRequestError(reply, app_tag if isinstance(app_tag, str) else None)
