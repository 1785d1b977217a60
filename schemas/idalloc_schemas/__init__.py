"""The wire contract of idalloc, version 1: queue names, codes, requests and replies.

What is made of pydantic's models is loaded at the first use of one of its names.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

from idalloc_schemas._codes import RespCode
from idalloc_schemas._names import (
    ALLOC_QUEUE,
    ALLOC_REPLY_TYPE,
    ALLOC_REQUEST_TYPE,
    CONTENT_TYPE,
    DEAD_QUEUE,
    FLEET_EXCHANGE,
    FLEET_HEALTH_EXCHANGE,
    HEALTH_QUEUE,
    HEALTH_REPLY_TYPE,
    HEALTH_REQUEST_TYPE,
    LOCAL_EXCHANGE,
    MARKS_STREAM,
    ORDERED_QUEUE_PREFIX,
    REQUEST_EXCHANGE,
)
from idalloc_schemas._period import Period, PeriodKind
from idalloc_schemas._usual import (
    MAX_APP_TAG_LENGTH,
    MAX_ID,
    InvalidMessageError,
    encode_alloc_request,
    encode_alloc_success,
    is_app_tag,
    read_alloc_success,
)

if TYPE_CHECKING:
    from idalloc_schemas._alloc import AllocReply, AllocRequest
    from idalloc_schemas._errors import ErrorReply
    from idalloc_schemas._fields import AppTag, IdRange
    from idalloc_schemas._fleet import (
        Alive,
        Echo,
        Entry,
        FleetMessage,
        HealthCall,
        Hello,
        Marks,
        Reserved,
        Surrendered,
        parse_fleet_message,
    )
    from idalloc_schemas._health import HealthReply, HealthRequest, TagHealth, TagState
    from idalloc_schemas._parse import (
        check_alloc_request,
        explain,
        make_health_request,
        parse_alloc_reply,
        parse_alloc_request,
        parse_health_reply,
        parse_health_request,
    )

__all__ = [
    "ALLOC_QUEUE",
    "ALLOC_REPLY_TYPE",
    "ALLOC_REQUEST_TYPE",
    "CONTENT_TYPE",
    "DEAD_QUEUE",
    "FLEET_EXCHANGE",
    "FLEET_HEALTH_EXCHANGE",
    "HEALTH_QUEUE",
    "HEALTH_REPLY_TYPE",
    "HEALTH_REQUEST_TYPE",
    "LOCAL_EXCHANGE",
    "MARKS_STREAM",
    "MAX_APP_TAG_LENGTH",
    "MAX_ID",
    "ORDERED_QUEUE_PREFIX",
    "REQUEST_EXCHANGE",
    "Alive",
    "AllocReply",
    "AllocRequest",
    "AppTag",
    "Echo",
    "Entry",
    "ErrorReply",
    "FleetMessage",
    "HealthCall",
    "HealthReply",
    "HealthRequest",
    "Hello",
    "IdRange",
    "InvalidMessageError",
    "Marks",
    "Period",
    "PeriodKind",
    "Reserved",
    "RespCode",
    "Surrendered",
    "TagHealth",
    "TagState",
    "check_alloc_request",
    "encode_alloc_request",
    "encode_alloc_success",
    "explain",
    "is_app_tag",
    "make_health_request",
    "parse_alloc_reply",
    "parse_alloc_request",
    "parse_fleet_message",
    "parse_health_reply",
    "parse_health_request",
    "read_alloc_success",
]

_WITH_MODELS: Final = ("_errors", "_fields", "_alloc", "_health", "_parse", "_fleet")
"""Callers need the first ones, workers all."""


def __getattr__(name: str) -> object:
    if name in __all__:
        for module in _WITH_MODELS:
            home = import_module(f"{__name__}.{module}")
            if hasattr(home, name):
                found = globals()[name] = getattr(home, name)
                return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
