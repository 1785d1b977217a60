"""What is done about a batch request that was refused: one answer for each reason."""

from enum import Enum, auto

from idalloc_client._errors import (
    BusyError,
    ExhaustedError,
    IdAllocError,
    InvalidRequestError,
    NoAvailableIdError,
    QueueFullError,
    ShuttingDownError,
)


class Remedy(Enum):
    """What becomes of the callers of a request."""

    TELL = auto()
    """They are told: to ask again would not help them."""
    ASK_LATER = auto()
    """They are asked for once more after a pause, as far as they have time left."""
    ASK_FOR_LESS = auto()
    """Each of them is valid, so it is their sum that the worker does not allow."""
    SPLIT = auto()
    """There are fewer ids than they want together: some of them may still be served."""


_REMEDIES: tuple[tuple[type[IdAllocError], Remedy], ...] = (
    (ShuttingDownError, Remedy.ASK_LATER),  # another worker
    (QueueFullError, Remedy.ASK_LATER),  # a queue that is full for the moment; before its base
    (BusyError, Remedy.ASK_FOR_LESS),
    (InvalidRequestError, Remedy.ASK_FOR_LESS),
    (ExhaustedError, Remedy.SPLIT),
    (NoAvailableIdError, Remedy.SPLIT),
)


def remedy_for(refusal: IdAllocError) -> Remedy:
    """Say what is done about a refusal."""
    return next((remedy for kind, remedy in _REMEDIES if isinstance(refusal, kind)), Remedy.TELL)
