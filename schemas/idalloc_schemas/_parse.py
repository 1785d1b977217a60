"""Reads message bodies and says in one line what is wrong with a bad one."""

from typing import Final, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from idalloc_schemas._alloc import AllocReply, AllocRequest
from idalloc_schemas._errors import ErrorReply
from idalloc_schemas._health import HealthReply, HealthRequest

MAX_BODY_BYTES: Final = 64 * 1024
"""A request is some 60 bytes; a body beyond this is refused unread."""

_Model = TypeVar("_Model", bound=BaseModel)
_alloc_reply: TypeAdapter[AllocReply | ErrorReply] = TypeAdapter(AllocReply | ErrorReply)
_health_reply: TypeAdapter[HealthReply | ErrorReply] = TypeAdapter(HealthReply | ErrorReply)


class InvalidMessageError(ValueError):
    """A body breaks the contract; the text names the field and the reason, never its value."""


def parse_alloc_request(body: bytes) -> AllocRequest:
    """Read a request of `id.alloc`, or raise `InvalidMessageError`."""
    return _parse_request(AllocRequest, body)


def parse_health_request(body: bytes) -> HealthRequest:
    """Read a request of `id.health`, or raise `InvalidMessageError`."""
    return _parse_request(HealthRequest, body)


def parse_alloc_reply(body: bytes) -> AllocReply | ErrorReply:
    """Read a reply of `id.alloc`, or raise `InvalidMessageError`."""
    try:
        return _alloc_reply.validate_json(body)
    except ValidationError as error:
        raise InvalidMessageError(explain(error)) from None


def parse_health_reply(body: bytes) -> HealthReply | ErrorReply:
    """Read a reply of `id.health`, or raise `InvalidMessageError`."""
    try:
        return _health_reply.validate_json(body)
    except ValidationError as error:
        raise InvalidMessageError(explain(error)) from None


def _parse_request(model: type[_Model], body: bytes) -> _Model:
    if len(body) > MAX_BODY_BYTES:
        raise InvalidMessageError(f"body is larger than {MAX_BODY_BYTES} bytes")
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise InvalidMessageError(explain(error)) from None


def explain(error: ValidationError) -> str:
    """Name each field that breaks the contract and say why, without repeating its value."""
    details = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(_describe_one(detail) for detail in details)


def _describe_one(detail: ErrorDetails) -> str:
    field = ".".join(str(part) for part in detail["loc"])
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
