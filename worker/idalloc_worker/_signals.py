"""SIGTERM and SIGINT: the first asks for a clean stop, the second forces one."""

import os
import queue
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from types import FrameType
from typing import Generic, TypeVar

FORCED_EXIT = 1
_STOP_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT})

_Item = TypeVar("_Item")


class Mailbox(Generic[_Item]):
    """Hands items to the main thread, from other threads and from signal handlers.

    Unlike an Event's `set`, a SimpleQueue's `put` may interrupt itself and the waiting thread.
    """

    def __init__(self) -> None:
        self._items: queue.SimpleQueue[_Item] = queue.SimpleQueue()

    def put(self, item: _Item) -> None:
        """Leave an item."""
        self._items.put(item)

    def get(self) -> _Item:
        """Wait for an item; signal handlers run meanwhile."""
        while True:
            try:
                # The kernel may give a signal to another thread, which does not wake this one:
                # Python runs the handler here as soon as it looks.
                return self._items.get(timeout=0.5)
            except queue.Empty:
                continue


def on_stop_signals(
    ask: Callable[[], None], force: Callable[[], None] | None = None, *, ignore_sigint: bool = False
) -> None:
    """Call `ask` at the first signal and `force` (by default: exit at once) at the second.

    Only the main thread may install this. `ask` and `force` must be safe in a signal handler.
    """
    signals = count()

    def handle(_signal: int, _frame: FrameType | None) -> None:
        if next(signals) == 0:
            ask()
        else:
            (force or exit_now)()

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, signal.SIG_IGN if ignore_sigint else handle)


@contextmanager
def stop_signals_blocked() -> Iterator[None]:
    """Start a child inside: it inherits that SIGTERM and SIGINT wait for it to be ready."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def unblock_stop_signals() -> None:
    """Take the signals that waited, in a child that was started as above."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)


def exit_now() -> None:
    """End the process without further ado: whoever runs it starts another one."""
    os._exit(FORCED_EXIT)  # threads may be stuck in a system call
