"""What `idalloc_client` has for callers."""

from idalloc_client._batch import IdBatch, PeriodError, PeriodId
from idalloc_client._clients import AsyncIdClient, IdClient
from idalloc_client._errors import (
    AccessRefusedError,
    AppTagNotFoundError,
    BadReplyError,
    BusyError,
    CallTimeoutError,
    ClientClosedError,
    ConnectionLostError,
    ExhaustedError,
    ForbiddenError,
    ForkedClientError,
    IdAllocError,
    InvalidRequestError,
    NoAvailableIdError,
    NoRouteError,
    QueueFullError,
    RefusedError,
    ShuttingDownError,
    TooManyCallsError,
    WorkerError,
)
from idalloc_client._memory import after_restore
from idalloc_client._sequences import AsyncIdSequence, IdSequence
from idalloc_client._stats import ClientStats, RoundTrips, SequenceStats
from idalloc_client.amqp import UrlFile
from idalloc_schemas import Period

__all__ = [
    "AccessRefusedError",
    "AppTagNotFoundError",
    "AsyncIdClient",
    "AsyncIdSequence",
    "BadReplyError",
    "BusyError",
    "CallTimeoutError",
    "ClientClosedError",
    "ClientStats",
    "ConnectionLostError",
    "ExhaustedError",
    "ForbiddenError",
    "ForkedClientError",
    "IdAllocError",
    "IdBatch",
    "IdClient",
    "IdSequence",
    "InvalidRequestError",
    "NoAvailableIdError",
    "NoRouteError",
    "Period",
    "PeriodError",
    "PeriodId",
    "QueueFullError",
    "RefusedError",
    "RoundTrips",
    "SequenceStats",
    "ShuttingDownError",
    "TooManyCallsError",
    "UrlFile",
    "WorkerError",
    "after_restore",
]
