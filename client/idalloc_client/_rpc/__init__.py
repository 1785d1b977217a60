"""One request and its reply: what is pending, what is sent again, what comes back."""

from idalloc_client._rpc._fleet_replies import FleetReplies, gather
from idalloc_client._rpc._pending_calls import CallTable
from idalloc_client._rpc._request_spec import (
    Exchange,
    RawReply,
    alloc_exchange,
    check_draw,
    health_exchange,
)
from idalloc_client._rpc._restore_watch import RestoreWatch

__all__ = [
    "CallTable",
    "Exchange",
    "FleetReplies",
    "RawReply",
    "RestoreWatch",
    "alloc_exchange",
    "check_draw",
    "gather",
    "health_exchange",
]
