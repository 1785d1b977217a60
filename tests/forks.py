"""Children that are forked by C code, as uWSGI forks: none of Python's hooks run."""

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable

_LIBRARY = ctypes.PyDLL(None)  # it keeps the interpreter's lock, as whoever forks has to
_LONGEST = 60  # seconds
_LOOKS = 300
_AT_REST = 0.0002  # seconds of CPU time, this thread's own included: no other one works


def fork_in_c() -> int:
    """Fork; return 0 in the child. A child that hangs is ended some time."""
    # A thread that waits for the interpreter's lock asks for it after a while. A child that has
    # such a request from its parent's thread gives the lock to nobody, and waits for ever. So it
    # may if one waits at all: the condition it waits on has a waiter then that never goes.
    interval = sys.getswitchinterval()
    sys.setswitchinterval(60.0)
    for _ in range(_LOOKS):
        before = time.process_time()
        time.sleep(0.01)  # who waits has it now, and nobody asks so soon again
        if time.process_time() - before < _AT_REST:
            break
    child = int(_LIBRARY.fork())
    sys.setswitchinterval(interval)
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(_LONGEST)
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
