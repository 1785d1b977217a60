"""Children that are forked by C code, as uWSGI forks: none of Python's hooks run."""

import _thread
import ctypes
import os
import select
import signal
import sys
import time
from collections.abc import Callable

_LIBRARY = ctypes.PyDLL(None)  # it keeps the interpreter's lock, as whoever forks has to
_LONGEST = 60  # seconds
_TRIES = 20
_PATIENCE = 5.0  # seconds for a child to begin
_HANDOVERS = 20


def fork_in_c() -> int:
    """Fork; return 0 in the child. A child that hangs is ended some time.

    Where a thread of the parent waits for the interpreter's lock, or has asked for it, the child's
    copy of the lock may be good for nothing: its condition has a waiter that never goes. A server
    has Python make a new lock (`PyOS_AfterFork_Child`). Here such a child is forked anew.
    """
    for _ in range(_TRIES):
        reader, writer = os.pipe()
        child = _fork_at_rest()
        if child == 0:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(_LONGEST)
            for _ in range(_HANDOVERS):
                _hand_over()
            os.write(writer, b"!")
            os.close(reader)
            os.close(writer)
            return 0
        os.close(writer)
        begun = select.select([reader], [], [], _PATIENCE)[0] and os.read(reader, 1)
        os.close(reader)
        if begun:
            return child
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    raise AssertionError(f"none of {_TRIES} children has begun")


def _hand_over() -> None:
    """Let another thread have the interpreter's lock for a moment."""
    done = _thread.allocate_lock()
    done.acquire()
    _thread.start_new_thread(done.release, ())
    done.acquire()


def _fork_at_rest() -> int:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(60.0)
    time.sleep(0.01)  # who waits for the lock has it now, and nobody asks so soon again
    child = int(_LIBRARY.fork())
    sys.setswitchinterval(interval)
    return child


def in_child(work: Callable[[], object]) -> str:
    """Run a function in such a child, and return the repr of what it returns or raises."""
    reader, writer = os.pipe()
    child = fork_in_c()
    if child == 0:  # pragma: no cover  # another process
        try:
            told = repr(work())
        except BaseException as error:  # noqa: BLE001  # told as well
            told = repr(error)
        os.write(writer, told.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        told = pipe.read()
    os.waitpid(child, 0)
    return told
