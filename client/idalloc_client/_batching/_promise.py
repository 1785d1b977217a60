"""What a caller waits for: a future of asyncio, or a promise to a thread."""

import asyncio
import concurrent.futures
import threading
from typing import Any, Protocol

TOO_LATE = (asyncio.InvalidStateError, concurrent.futures.InvalidStateError)
"""What `set_result` raises when there was an outcome, or the other side has gone."""


class Promise(Protocol):
    """One side waits for it, the other settles it."""

    def done(self) -> bool:
        """Whether it has its outcome, or nobody wants one any more."""

    def set_result(self, result: Any, /) -> None: ...

    def set_exception(self, exception: Any, /) -> None: ...


def settle(promise: Promise, outcome: object) -> bool:
    """Give a result or an exception; False if there was an outcome, or the other side has gone.

    Only the attempt can tell: it may leave just now, on another thread.
    """
    try:
        if isinstance(outcome, Exception):
            promise.set_exception(outcome)
        else:
            promise.set_result(outcome)
    except TOO_LATE:
        return False
    return True


class ThreadPromise:
    """A promise to one thread. `concurrent.futures.Future` does the same at several times the cost.

    Exactly one of `set_result`, `set_exception` and `cancel` succeeds: the one that gets the
    token. Taking it from the list is one step for the interpreter, so no lock is held.
    """

    __slots__ = ("__weakref__", "_done", "_error", "_result", "_token")

    def __init__(self) -> None:
        self._done = threading.Lock()
        self._done.acquire()
        self._token: list[None] = [None]
        self._result: Any = None
        self._error: Exception | None = None

    def done(self) -> bool:
        return not self._token

    def set_result(self, result: Any, /) -> None:
        self._take_token()
        self._result = result
        self._done.release()

    def set_exception(self, exception: Exception, /) -> None:
        self._take_token()
        self._error = exception
        self._done.release()

    def cancel(self) -> bool:
        """Want no outcome any more; False if there is one."""
        try:
            self._take_token()
        except concurrent.futures.InvalidStateError:
            return False
        return True

    def wait(self, timeout: float) -> bool:
        """Wait so many seconds for the outcome; False if there is none by then."""
        if self._done.acquire(timeout=timeout):
            return True
        if self.cancel():
            return False
        self._done.acquire()  # the other side is just about to release it
        return True

    def outcome(self) -> Any:
        """Return the result or raise the exception, after `wait` returned true."""
        if self._error is not None:
            raise self._error
        return self._result

    def _take_token(self) -> None:
        try:
            self._token.pop()
        except IndexError:
            raise concurrent.futures.InvalidStateError from None
