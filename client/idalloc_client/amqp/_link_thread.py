"""Runs a link on a thread of its own, and lets other threads reach it."""

import logging
import threading
import time
from collections import deque
from typing import Any

from idalloc_client.amqp._io import Callback, Waker, new_loop
from idalloc_client.amqp._link import Link, LinkHandler
from idalloc_client.amqp._url import Brokers

_log = logging.getLogger("idalloc.link")


class LinkThread:
    """The owner of a link; `start`, `post` and `stop` may be called from any thread."""

    def __init__(
        self,
        brokers: Brokers,
        handler: LinkHandler,
        name: str,
        on_death: Callback | None = None,
    ) -> None:
        """`on_death` is called on the thread if its loop cannot go on."""
        self._on_death = on_death
        self._loop = _LateLoop()
        self.link = Link(brokers, handler, self._loop)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._posted: deque[Callback] = deque()
        self._waker: Waker | None = None

    def start(self) -> None:
        """Start the thread; the connection follows.

        Raises RuntimeError or OSError if there is no thread or descriptor to be had; it may be
        called again then.
        """
        if self._waker is None:
            self._waker = Waker(self._loop, self._run_posted)
        self._wake()  # for what was posted before
        self._thread.start()

    def post(self, callback: Callback) -> None:
        """Run a callback on the thread, soon. After `stop` it is dropped."""
        self._posted.append(callback)
        self._wake()

    def stop(self, timeout: float) -> bool:
        """Flush, close and end the thread; False if it did not end within `timeout` seconds."""
        if not self._thread.is_alive():
            return True
        deadline = time.monotonic() + timeout
        self.post(lambda: self._begin_stop(deadline))
        if threading.current_thread() is self._thread:
            return False  # a callback asks: the thread ends once it returns
        self._thread.join(timeout + 1.0)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self.link.connect()
            self._loop.start()
        except Exception:
            # The link guards what runs on the loop, so the loop itself is broken.
            _log.critical("The AMQP thread ended", exc_info=True)
            if self._on_death is not None:
                self._on_death()
            raise
        finally:
            self._close_waker()
        self._loop.close()

    def _wake(self) -> None:
        waker = self._waker  # which the thread may take away just now, at its end
        if waker is not None:
            waker.wake()

    def _close_waker(self) -> None:
        waker, self._waker = self._waker, None
        if waker is not None:
            waker.close()

    def _run_posted(self) -> None:
        self.link.run(self._posted)

    def _begin_stop(self, deadline: float) -> None:
        self.link.begin_stop(self._loop.stop, deadline - time.monotonic())


class _LateLoop:
    """A loop that takes its descriptors at the first use: when `start` adds a waker."""

    def __getattr__(self, name: str) -> Any:
        # No cached_property: before Python 3.12 it has a lock, which a child may get locked.
        loop = self.__dict__.get("_opened") or self.__dict__.setdefault("_opened", new_loop())
        value = getattr(loop, name)
        setattr(self, name, value)  # found at once from now on
        return value
