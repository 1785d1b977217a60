"""SIGTERM and SIGINT: the first asks for a clean stop, the second forces one."""

import os
import signal
from collections.abc import Callable
from types import FrameType

FORCED_EXIT = 1


def on_stop_signals(
    ask: Callable[[], None], force: Callable[[], None] | None = None, *, ignore_sigint: bool = False
) -> None:
    """Call `ask` at the first signal and `force` (by default: exit at once) at the second.

    Only the main thread may install this. `ask` and `force` must be safe in a signal handler.
    """
    asked = False

    def handle(_signal: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            (force or _exit_now)()
        asked = True
        ask()

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, signal.SIG_IGN if ignore_sigint else handle)


def _exit_now() -> None:
    os._exit(FORCED_EXIT)  # threads may be stuck in a system call
