"""One request and how to read its reply: pure, so that every kind of client shares it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from pydantic import ValidationError

from idalloc_client._batch import IdBatch
from idalloc_client._errors import BadReplyError, InvalidRequestError, refused
from idalloc_schemas import (
    ALLOC_QUEUE,
    ALLOC_REQUEST_TYPE,
    HEALTH_QUEUE,
    HEALTH_REQUEST_TYPE,
    AllocReply,
    AllocRequest,
    ErrorReply,
    HealthReply,
    HealthRequest,
    InvalidMessageError,
    Period,
    RespCode,
    encode_alloc_request,
    explain,
    parse_alloc_reply,
    parse_health_reply,
)

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class RawReply:
    """A reply as it came; `worker` is its `app_id`, or empty."""

    body: bytes
    worker: str


@dataclass(frozen=True, slots=True)
class RequestSpec(Generic[_Result]):
    """A request ready to be sent; `read` turns the reply into the result or raises."""

    queue: str
    message_type: str
    body: bytes
    read: Callable[[RawReply], _Result]


def alloc_request(app_tag: str, count: int) -> RequestSpec[IdBatch]:
    """Ask for `count` ids of a tag; both have passed `check_draw`, or are sums of what has."""

    def read(raw: RawReply) -> IdBatch:
        reply = _checked(parse_alloc_reply, raw.body, app_tag)
        if reply.count != count:
            raise BadReplyError(f"asked for {count} ids of {app_tag!r}, got {reply.count}")
        period = None if reply.period is None else Period.parse(reply.period)
        return IdBatch(reply.ranges, raw.worker, period, app_tag)

    return RequestSpec(ALLOC_QUEUE, ALLOC_REQUEST_TYPE, encode_alloc_request(app_tag, count), read)


def check_draw(app_tag: str, count: int = 1) -> AllocRequest:
    """Raise `InvalidRequestError` unless the contract allows this."""
    try:
        return AllocRequest(app_tag=app_tag, count=count)
    except ValidationError as error:
        raise _invalid(error, app_tag) from None


def health_request(app_tag: str | None, *, fleet: bool = False) -> RequestSpec[HealthReply]:
    """Ask how a worker stands, or each of them. Raises `InvalidRequestError` before it is sent."""
    asked = {"fleet": True} if fleet else {}
    try:
        request = HealthRequest(**({} if app_tag is None else {"app_tag": app_tag}), **asked)
    except ValidationError as error:
        raise _invalid(error, app_tag) from None

    def read(raw: RawReply) -> HealthReply:
        return _checked(parse_health_reply, raw.body, app_tag)

    return RequestSpec(HEALTH_QUEUE, HEALTH_REQUEST_TYPE, request.encode(), read)


_Reply = TypeVar("_Reply", AllocReply, HealthReply)


def _checked(
    parse: Callable[[bytes], _Reply | ErrorReply], body: bytes, app_tag: str | None
) -> _Reply:
    try:
        reply = parse(body)
    except InvalidMessageError as error:
        raise BadReplyError(f"the reply breaks the contract: {error}") from None
    if isinstance(reply, ErrorReply):
        raise refused(reply, app_tag)
    return reply


def _invalid(error: ValidationError, app_tag: object) -> InvalidRequestError:
    reply = ErrorReply(resp_code=RespCode.INVALID_REQUEST, msg=explain(error))
    return InvalidRequestError(reply, app_tag if isinstance(app_tag, str) else None)
