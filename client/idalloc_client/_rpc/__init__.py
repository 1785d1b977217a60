"""One request and its reply: what is pending, what is sent again, what comes back."""

from idalloc_client._rpc._fleet_replies import FleetReplies, gather
from idalloc_client._rpc._pending_calls import PendingCalls
from idalloc_client._rpc._request_spec import (
    RawReply,
    RequestSpec,
    alloc_request,
    check_draw,
    health_request,
    prepare_for_refusals,
)
from idalloc_client._rpc._restore_watch import RestoreWatch

__all__ = [
    "FleetReplies",
    "PendingCalls",
    "RawReply",
    "RequestSpec",
    "RestoreWatch",
    "alloc_request",
    "check_draw",
    "gather",
    "health_request",
    "prepare_for_refusals",
]
