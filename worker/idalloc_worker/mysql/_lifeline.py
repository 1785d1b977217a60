"""Lets another thread end a database call that is blocked on its socket."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(slots=True)
class _Limit:
    passed: bool = False


class Lifeline:
    """A second handle on the socket of one store.

    Owned by the store's thread; `abort` may be called from any thread, at any time, repeatedly.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._handle: socket.socket | None = None
        self._running = False
        self._aborted = False
        self._limit: _Limit | None = None

    @property
    def aborted(self) -> bool:
        """Whether the operation that runs was aborted."""
        return self._aborted

    def arm(self) -> None:
        """Let `abort` count from now on for the next operation, though it has not begun."""
        with self._lock:
            self._running, self._aborted = True, False

    @contextlib.contextmanager
    def operation(self) -> Iterator[None]:
        """Mark the time in which `abort` means something: between operations it does nothing."""
        with self._lock:
            if not self._running:
                self._running, self._aborted = True, False
        try:
            yield
        finally:
            with self._lock:
                self._running = False

    @contextlib.contextmanager
    def limit(self, seconds: float) -> Iterator[None]:
        """Cut what is attached in this block if it lasts longer, however the time is spent.

        The operation goes on and may attach something else afterwards. Not to be nested.

        Raises TimeoutError where the time ran out.
        """
        limit = _Limit()
        timer = threading.Timer(max(seconds, 0.0), self._cut, (limit,))
        timer.name, timer.daemon = "idalloc-connect-limit", True
        with self._lock:
            self._limit = limit
        timer.start()
        try:
            yield
        except Exception as error:
            if self._end_limit(timer):
                raise TimeoutError("its share of the timeout has passed") from error
            raise
        finally:
            passed = self._end_limit(timer)
        if passed:
            raise TimeoutError("its share of the timeout has passed")

    def _end_limit(self, timer: threading.Timer) -> bool:
        timer.cancel()
        with self._lock:
            limit, self._limit = self._limit, None
        return limit is not None and limit.passed

    def _cut(self, limit: _Limit) -> None:
        with self._lock:
            if self._limit is limit:
                limit.passed = True
                self._shut_down()

    def attach(self, sock: socket.socket) -> None:
        """Watch over `sock`. Raises TimeoutError if the time for it is already over."""
        # A duplicate, because TLS takes the original's descriptor away, and because a descriptor
        # that its owner closes meanwhile may by then be somebody else's.
        handle: socket.socket | None = sock.dup()
        with self._lock:
            aborted = self._aborted or (self._limit is not None and self._limit.passed)
            if not aborted:
                handle, self._handle = self._handle, handle
        if handle is not None:  # the one before it, or this one if it comes too late
            handle.close()
        if aborted:
            raise TimeoutError("given up before it was connected")

    def detach(self) -> None:
        """Let go of the socket, which is closed or about to be."""
        with self._lock:
            handle, self._handle = self._handle, None
        if handle is not None:
            handle.close()

    def abort(self) -> None:
        """Make the operation that runs fail at once. Never blocks."""
        with self._lock:
            if not self._running:
                return
            self._aborted = True
            self._shut_down()

    def _shut_down(self) -> None:
        if self._handle is not None:
            with contextlib.suppress(OSError):  # not connected any more: nothing to end
                self._handle.shutdown(socket.SHUT_RDWR)
