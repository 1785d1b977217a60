"""What signals do: SIGTERM and SIGINT ask for a clean stop, SIGQUIT for a look inside.

A second SIGTERM or SIGINT forces the end. SIGHUP has the settings read again; but where the
terminal from which the worker was started is gone it asks for a clean stop, however often it comes:
the kernel and the shell both send one.
"""

import contextlib
import errno
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from types import FrameType
from typing import Final, Generic, TypeVar

FORCED_EXIT = 1
_HANDLED: Final = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT})
_LONGEST_SLEEP: Final = 0.5  # seconds
_STANDARD_ERROR: Final = 2

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

    def get(self, timeout: float | None = None) -> _Item | None:
        """Wait for an item, at most `timeout` seconds; signal handlers run meanwhile."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            left = _LONGEST_SLEEP if deadline is None else max(deadline - time.monotonic(), 0.0)
            try:
                # The kernel may give a signal to another thread, which does not wake this one:
                # Python runs the handler here as soon as it looks.
                return self._items.get(timeout=min(left, _LONGEST_SLEEP))
            except queue.Empty:
                if left == 0.0:
                    return None


class StopOrder:
    """Tells the main thread to stop; it may be given from other threads and signal handlers.

    What else the main thread is to do meanwhile is posted here too.
    """

    def __init__(self) -> None:
        self._orders: Mailbox[Callable[[], None]] = Mailbox()

    def give(self) -> None:
        """Stop."""
        self._orders.put(_stop)

    def post(self, task: Callable[[], None]) -> None:
        """Have the main thread do something, unless it stops before."""
        self._orders.put(task)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the order, at most `timeout` seconds; whether it was given."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            left = None if deadline is None else max(deadline - time.monotonic(), 0.0)
            order = self._orders.get(left)
            if order is None or order is _stop:
                return order is _stop
            order()


def _stop() -> None:
    """Stand for the order to stop."""


def on_stop_signals(
    ask: Callable[[], None],
    force: Callable[[], None] | None = None,
    reload: Callable[[], None] | None = None,
    *,
    of_terminal: bool = True,
) -> None:
    """Call `ask` at the first signal and `force` (by default: exit at once) at the second.

    At SIGHUP `reload` is called if there is one, and `ask` if the terminal is gone.

    Without `of_terminal`, those that a terminal sends to the whole group are ignored: somebody else
    in it acts on them. Only the main thread may install this. `ask` and `force` must be safe in a
    signal handler.
    """
    signals, from_terminal = count(), _has_terminal()

    def handle(_signal: int, _frame: FrameType | None) -> None:
        if next(signals) == 0:
            ask()
        else:
            (force or exit_now)()

    def hang_up(_signal: int, _frame: FrameType | None) -> None:
        (ask if reload is None or (from_terminal and not _has_terminal()) else reload)()

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle if of_terminal else signal.SIG_IGN)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # which `nohup` asks for
        signal.signal(signal.SIGHUP, hang_up if of_terminal else signal.SIG_IGN)


def _has_terminal() -> bool:
    """Tell whether the process has a terminal that can hang up."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK))
    except OSError as error:
        return error.errno in {errno.EMFILE, errno.ENFILE}  # nobody can tell: as it was
    return True


def show_stacks_on_sigquit() -> None:
    """Write what every thread is at to standard error at SIGQUIT, and go on.

    In the main thread, between two steps of it: faulthandler reads the other threads' stacks while
    they run, which ends a busy process now and then.
    """
    with contextlib.suppress(AttributeError):  # there is no such signal on Windows
        signal.signal(signal.SIGQUIT, lambda _signal, _frame: _show_stacks())


def _show_stacks() -> None:
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    lines = []
    for ident, frame in sys._current_frames().items():  # noqa: SLF001  # documented, for this
        lines.append(f"Thread {names.get(ident, ident)} (most recent call first):")
        for function, line in traceback.walk_stack(frame):
            code = function.f_code
            lines.append(f'  File "{code.co_filename}", line {line} in {code.co_qualname}')
    with contextlib.suppress(OSError):  # there may be no standard error
        os.write(_STANDARD_ERROR, ("\n".join(lines) + "\n").encode(errors="replace"))


def on_child_ended(tell: Callable[[], None]) -> None:
    """Call `tell` when a child may have ended; it must be safe in a signal handler."""
    signal.signal(signal.SIGCHLD, lambda _signal, _frame: tell())


@contextmanager
def stop_signals_blocked() -> Iterator[None]:
    """Start a child inside: it inherits that signals wait for it to be ready."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def unblock_stop_signals() -> None:
    """Take the signals that waited, in a child that was started as above."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)


def exit_now() -> None:
    """End the process without further ado: whoever runs it starts another one."""
    os._exit(FORCED_EXIT)  # threads may be stuck in a system call
