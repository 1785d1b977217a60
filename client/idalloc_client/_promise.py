"""Futures of asyncio and of concurrent.futures alike, as far as the client needs them."""

import asyncio
import concurrent.futures
from typing import Any, Protocol

_TOO_LATE = (asyncio.InvalidStateError, concurrent.futures.InvalidStateError)


class Promise(Protocol):
    """A future that one side waits for and the other settles."""

    def done(self) -> bool:
        """Whether it has its outcome, or nobody wants one any more."""

    def set_result(self, result: Any, /) -> None:
        """Give the outcome."""

    def set_exception(self, exception: Any, /) -> None:
        """Give the outcome."""


def settle(promise: Promise, outcome: object) -> bool:
    """Give a result or an exception; False if there was an outcome, or the other side has left.

    Only the attempt can tell: it may leave just now, on another thread.
    """
    try:
        if isinstance(outcome, Exception):
            promise.set_exception(outcome)
        else:
            promise.set_result(outcome)
    except _TOO_LATE:
        return False
    return True
