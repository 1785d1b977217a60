"""Lets pika run on a loop of asyncio, or of uvloop, through its documented selector interface."""

import asyncio
from collections.abc import Callable
from typing import Any

from idalloc_client.amqp._io._guarded_loop import Callback

_READ, _WRITE, _ERROR = 1, 4, 8

Handler = Callable[[int, int], None]


class AsyncioSelectorLoop:
    """Watches descriptors with `add_reader` and `add_writer`; starting the loop is not its work."""

    READ = _READ
    WRITE = _WRITE
    ERROR = _ERROR

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._handlers: dict[int, Handler] = {}
        self._events: dict[int, int] = {}

    def close(self) -> None:
        """Leave the loop alone: it is the application's."""

    def start(self) -> None:
        """Leave the loop alone."""

    def stop(self) -> None:
        """Leave the loop alone."""

    def call_later(self, delay: float, callback: Callback) -> asyncio.TimerHandle:
        return self._loop.call_later(delay, callback)

    def remove_timeout(self, timeout_handle: Any) -> None:
        timeout_handle.cancel()

    def add_callback(self, callback: Callback) -> None:
        """Run a callback soon; may be called from any thread, as pika's resolver does."""
        # It may have ended meanwhile, with pika's resolver still at work.
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(callback)

    def add_handler(self, fd: int, handler: Handler, events: int) -> None:
        self._handlers[fd] = handler
        self._watch(fd, events)

    def update_handler(self, fd: int, events: int) -> None:
        self._watch(fd, events)

    def remove_handler(self, fd: int) -> None:
        self._watch(fd, 0)
        del self._handlers[fd]
        del self._events[fd]

    def move_to(self, loop: asyncio.AbstractEventLoop) -> None:
        """Go on with another loop, as the one so far runs no more; its timers are forgotten."""
        watched = dict(self._events)
        if self._loop.is_closed():
            self._events = dict.fromkeys(watched, 0)
        else:
            for fd in watched:
                self._watch(fd, 0)
        self._loop = loop
        for fd, events in watched.items():
            self._watch(fd, events)

    def _watch(self, fd: int, events: int) -> None:
        before, self._events[fd] = self._events.get(fd, 0), events
        handler = self._handlers[fd]
        if events & _READ and not before & _READ:
            self._loop.add_reader(fd, handler, fd, _READ)
        elif before & _READ and not events & _READ:
            self._loop.remove_reader(fd)
        if events & _WRITE and not before & _WRITE:
            self._loop.add_writer(fd, handler, fd, _WRITE)
        elif before & _WRITE and not events & _WRITE:
            self._loop.remove_writer(fd)
