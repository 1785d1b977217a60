"""A loop for pika's `SelectConnection` on Linux, by pika's documented interface for such loops.

Measured beside the one that pika (1.4) comes with: a turn takes two thirds of its 9 us of CPU time,
and a request 3 to 4 % less of a worker's (`benchmarks/races/single_requests.py`).
"""

import heapq
import select
import threading
from collections import deque
from collections.abc import Callable
from itertools import count
from time import monotonic
from typing import Final

from pika.adapters.select_connection import IOLoop

from idalloc_client.amqp._io._guarded_loop import Callback, SelectorLoop
from idalloc_client.amqp._io._waker import Waker

_MOST_EVENTS: Final = 16  # of a turn; the others come in the next one
_LONGEST_WAIT: Final = 3600.0  # seconds: the kernel counts milliseconds in 32 bits
_MOST_CANCELLED: Final = 1000  # timers that wait for their time to be forgotten

Handler = Callable[[int, int], None]


def new_loop() -> SelectorLoop:
    """Make the best one for this system. Raises OSError for lack of descriptors."""
    return EpollLoop() if hasattr(select, "epoll") else IOLoop()


class _Timer:
    __slots__ = ("callback",)

    def __init__(self, callback: Callback) -> None:
        self.callback: Callback | None = callback


class EpollLoop:
    """Owned by the thread that runs `start`; `add_callback` and `stop` are for all.

    What a handler or a callback raises ends `start`.
    """

    READ, WRITE, ERROR = 1, 4, 8  # as epoll(7) has them

    def __init__(self) -> None:
        """Take three descriptors. Raises OSError."""
        self._epoll = select.epoll()
        self._handlers: dict[int, tuple[Handler, int]] = {}
        self._ready: dict[int, int] = {}
        """What this turn is still to tell."""
        self._callbacks: deque[Callback] = deque()
        self._timers: list[tuple[float, int, _Timer]] = []
        self._numbers = count()
        self._cancelled = 0
        self._stopping = False
        self._thread: int | None = None
        self._waker = Waker(self, lambda: None)  # the turn does the rest

    def start(self) -> None:
        """Run until `stop`: in each turn what descriptors tell, then callbacks, then timers."""
        self._thread = threading.get_ident()
        poll, handlers, callbacks = self._epoll.poll, self._handlers, self._callbacks
        try:
            while not self._stopping:
                ready = self._ready = dict(poll(self._wait(), _MOST_EVENTS))
                while ready:
                    fd, events = ready.popitem()
                    handler, wanted = handlers[fd]
                    handler(fd, events & wanted or wanted)  # an error alone is for all of them
                for _ in range(len(callbacks)):
                    callbacks.popleft()()
                if self._timers:
                    self._run_timers()
        finally:
            self._stopping, self._thread = False, None

    def stop(self) -> None:
        """End `start` after this turn."""
        self._stopping = True
        self._waker.wake()

    def close(self) -> None:
        """Give the descriptors back; nothing runs any more."""
        if not self._epoll.closed:
            self._waker.close()
            self._epoll.close()
        self._callbacks.clear()
        self._timers.clear()

    def add_callback(self, callback: Callback) -> None:
        """Run a callback in this turn, or the next one."""
        self._callbacks.append(callback)
        if threading.get_ident() != self._thread:
            self._waker.wake()

    def call_later(self, delay: float, callback: Callback) -> _Timer:
        """Run a callback after `delay` seconds."""
        timer = _Timer(callback)
        heapq.heappush(self._timers, (monotonic() + delay, next(self._numbers), timer))
        return timer

    def remove_timeout(self, timeout_handle: _Timer) -> None:
        """Forget what `call_later` returned; it may have run already."""
        if timeout_handle.callback is None:
            return
        timeout_handle.callback = None
        self._cancelled += 1
        if self._cancelled > max(_MOST_CANCELLED, len(self._timers) // 2):
            self._timers = [each for each in self._timers if each[2].callback is not None]
            heapq.heapify(self._timers)
            self._cancelled = 0

    def add_handler(self, fd: int, handler: Handler, events: int) -> None:
        """Tell `handler` of a descriptor's events, until `remove_handler`."""
        self._epoll.register(fd, events)
        self._handlers[fd] = handler, events

    def update_handler(self, fd: int, events: int) -> None:
        """Tell of these from now on."""
        self._epoll.modify(fd, events)
        self._handlers[fd] = self._handlers[fd][0], events
        self._ready.pop(fd, None)  # the next turn finds what is still so

    def remove_handler(self, fd: int) -> None:
        """Tell of nothing any more, also not of what this turn has found."""
        self._ready.pop(fd, None)
        del self._handlers[fd]
        self._epoll.unregister(fd)

    def _wait(self) -> float:
        """Return the seconds until something is due."""
        if self._callbacks:
            return 0.0
        if self._timers:
            return min(max(self._timers[0][0] - monotonic(), 0.0), _LONGEST_WAIT)
        return _LONGEST_WAIT

    def _run_timers(self) -> None:
        now, timers, due = monotonic(), self._timers, []
        while timers and timers[0][0] <= now:
            due.append(heapq.heappop(timers)[2])
        for timer in due:
            callback, timer.callback = timer.callback, None
            if callback is None:
                self._cancelled -= 1
            else:
                callback()
