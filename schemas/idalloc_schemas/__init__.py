"""The wire contract of idalloc, version 1: queue names, codes, requests and replies."""

from idalloc_schemas._alloc import (
    AllocReply,
    AllocRequest,
    encode_alloc_request,
    encode_alloc_success,
)
from idalloc_schemas._codes import RespCode
from idalloc_schemas._errors import ErrorReply
from idalloc_schemas._fields import MAX_APP_TAG_LENGTH, MAX_ID, AppTag, IdRange
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
from idalloc_schemas._names import (
    ALLOC_QUEUE,
    ALLOC_REPLY_TYPE,
    ALLOC_REQUEST_TYPE,
    CONTENT_TYPE,
    DEAD_QUEUE,
    FLEET_EXCHANGE,
    HEALTH_QUEUE,
    HEALTH_REPLY_TYPE,
    HEALTH_REQUEST_TYPE,
    MARKS_STREAM,
    REQUEST_EXCHANGE,
)
from idalloc_schemas._parse import (
    InvalidMessageError,
    explain,
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
    "HEALTH_QUEUE",
    "HEALTH_REPLY_TYPE",
    "HEALTH_REQUEST_TYPE",
    "MARKS_STREAM",
    "MAX_APP_TAG_LENGTH",
    "MAX_ID",
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
    "Reserved",
    "RespCode",
    "Surrendered",
    "TagHealth",
    "TagState",
    "encode_alloc_request",
    "encode_alloc_success",
    "explain",
    "parse_alloc_reply",
    "parse_alloc_request",
    "parse_fleet_message",
    "parse_health_reply",
    "parse_health_request",
]
