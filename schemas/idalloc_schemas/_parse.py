"""Reads message bodies and says in one line what is wrong with a bad one."""

from functools import lru_cache
from typing import Final, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from idalloc_schemas._alloc import AllocReply, AllocRequest
from idalloc_schemas._errors import ErrorReply
from idalloc_schemas._health import HealthReply, HealthRequest
from idalloc_schemas._usual import InvalidMessageError

MAX_BODY_BYTES: Final = 64 * 1024
"""A request is some 60 bytes; a body beyond this is refused unread."""

_SHORT: Final = 100
"""Bytes: a tag of 32 characters, a count, and room for spaces."""

_MAX_PROBLEMS: Final = 5
"""A list can hold any number of bad items; the first few tell enough."""

_Model = TypeVar("_Model", bound=BaseModel)
_Reply = TypeVar("_Reply", bound=BaseModel)
_alloc_reply: TypeAdapter[AllocReply | ErrorReply] = TypeAdapter(AllocReply | ErrorReply)
_health_reply: TypeAdapter[HealthReply | ErrorReply] = TypeAdapter(HealthReply | ErrorReply)


def parse_alloc_request(body: bytes) -> AllocRequest:
    """Read a request of `id.alloc`, or raise `InvalidMessageError`."""
    if len(body) > _SHORT:
        return _parse_request(AllocRequest, body)
    return _parse_short_request(body)


@lru_cache(maxsize=4096)
def _parse_short_request(body: bytes) -> AllocRequest:
    """Remember what was read: callers send the same few bytes over and over.

    Measured: 9 % of a worker's CPU time per request. Only good requests are
    remembered, and with their number and length their memory is bounded, at some 4 MB.
    """
    return _parse_request(AllocRequest, body)


def parse_health_request(body: bytes) -> HealthRequest:
    """Read a request of `id.health`, or raise `InvalidMessageError`."""
    return _parse_request(HealthRequest, body)


def check_alloc_request(app_tag: object, count: object) -> None:
    """Raise `InvalidMessageError` unless a request may ask for so many ids of this tag."""
    _check(AllocRequest, {"app_tag": app_tag, "count": count})


def make_health_request(app_tag: object, *, fleet: bool) -> HealthRequest:
    """Make a request for one tag, or with None for all. Raises `InvalidMessageError`."""
    fields = {} if app_tag is None else {"app_tag": app_tag}
    return _check(HealthRequest, {**fields, "fleet": True} if fleet else fields)


def parse_alloc_reply(body: bytes) -> AllocReply | ErrorReply:
    """Read a reply of `id.alloc`, or raise `InvalidMessageError`."""
    return _parse_reply(_alloc_reply, body)


def parse_health_reply(body: bytes) -> HealthReply | ErrorReply:
    """Read a reply of `id.health`, or raise `InvalidMessageError`."""
    return _parse_reply(_health_reply, body)


def _parse_reply(adapter: TypeAdapter[_Reply], body: bytes) -> _Reply:
    try:
        reply = adapter.validate_json(body)
    except ValidationError as error:
        raise InvalidMessageError(_explain_reply(error)) from None
    if "resp_code" not in reply.model_fields_set:  # its default is for those who write replies
        raise InvalidMessageError("resp_code: Field required")
    return reply


def _parse_request(model: type[_Model], body: bytes) -> _Model:
    if len(body) > MAX_BODY_BYTES:
        raise InvalidMessageError(f"body is larger than {MAX_BODY_BYTES} bytes")
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise InvalidMessageError(explain(error)) from None


def _check(model: type[_Model], fields: dict[str, object]) -> _Model:
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        raise InvalidMessageError(explain(error)) from None


def explain(error: ValidationError) -> str:
    """Name each field that breaks the contract and say why, without repeating its value."""
    return _join(_details(error))


def _explain_reply(error: ValidationError) -> str:
    """Say what is wrong with a reply, as the kind of reply that its code says it is."""
    details = _details(error)
    if any(detail["type"] == "json_invalid" for detail in details):
        return _join(details)
    by_kind: dict[str, list[ErrorDetails]] = {"success": [], "error": []}
    for detail in details:
        kind, *loc = detail["loc"]
        detail["loc"] = tuple(loc)
        by_kind["error" if kind == ErrorReply.__name__ else "success"].append(detail)
    is_error = any(detail["loc"] == ("resp_code",) for detail in by_kind["success"])
    return _join(by_kind["error" if is_error else "success"])


def _details(error: ValidationError) -> list[ErrorDetails]:
    return error.errors(include_url=False, include_context=False, include_input=False)


def _join(details: list[ErrorDetails]) -> str:
    problems = [_describe_one(detail) for detail in details[:_MAX_PROBLEMS]]
    if len(details) > _MAX_PROBLEMS:
        problems.append(f"and {len(details) - _MAX_PROBLEMS} more")
    return "; ".join(problems)


def _describe_one(detail: ErrorDetails) -> str:
    # What is no identifier is pydantic's word for a type, or a key that the sender made up.
    field = ".".join(str(p) for p in detail["loc"] if isinstance(p, int) or p.isidentifier())
    match detail["type"], field:
        case "missing", "app_tag":
            return "need app_tag param"  # the reference service's words
        case "json_invalid", _:
            reason = detail["msg"].removeprefix("Invalid JSON: ")
            return f"body is not valid JSON: {reason}"
        case "model_type" | "model_attributes_type", "":
            return "body must be a JSON object"
        case "string_pattern_mismatch", "app_tag":
            return "app_tag: only printable ASCII characters without spaces are allowed"
        case _, "":
            return detail["msg"]
    return f"{field}: {detail['msg']}"
