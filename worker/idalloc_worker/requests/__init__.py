"""A request from its delivery to its reply."""

from idalloc_worker.requests._acks import Holding
from idalloc_worker.requests._channel_budget import (
    ADVICE,
    FOR_ALL,
    FOR_FLEET,
    FOR_ORDERED,
    ChannelBudget,
)
from idalloc_worker.requests._deadlines import deadline_of
from idalloc_worker.requests._quarantine import ORDERED, Quarantine
from idalloc_worker.requests._replies import health_reply, health_reply_in_slices
from idalloc_worker.requests._reply_address import release_of
from idalloc_worker.requests._responder import Responder
from idalloc_worker.requests._sample import Sample
from idalloc_worker.requests._session import REQUEST_TYPE, Delivery, OnDelivery, Session
from idalloc_worker.requests._side_answers import SideAnswers
from idalloc_worker.requests._stalls import BEAT
from idalloc_worker.requests._taken import TakenSession, as_copy

__all__ = [
    "ADVICE",
    "BEAT",
    "FOR_ALL",
    "FOR_FLEET",
    "FOR_ORDERED",
    "ORDERED",
    "REQUEST_TYPE",
    "ChannelBudget",
    "Delivery",
    "Holding",
    "OnDelivery",
    "Quarantine",
    "Responder",
    "Sample",
    "Session",
    "SideAnswers",
    "TakenSession",
    "as_copy",
    "deadline_of",
    "health_reply",
    "health_reply_in_slices",
    "release_of",
]
