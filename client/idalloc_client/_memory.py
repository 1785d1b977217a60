"""Tells whether what is in memory is this process's own, and of now.

A child has a copy of its parent's memory, whoever forked it: C code that does so, as uWSGI's, runs
none of Python's hooks. A machine or container that is restored from a snapshot has a copy of what
its memory was before. In both, ids that were leased may have gone out already, and connections are
somebody else's.
"""

import itertools
import mmap
import operator
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Generic, Protocol, TypeVar

CHUNK = 16_384
"""Ids that a page lets out at a time: enough that the turn to the next ones costs nothing."""

_WIPE_ON_FORK = 18  # MADV_WIPEONFORK: Linux 4.14 and later
_JUMP = 1.5
"""Seconds by which the wall clock jumps beside the monotonic one; a leap second is one."""


class MemoryRestoredError(Exception):
    """What was in memory is of an earlier time."""


class LeasePage:
    """Lets leased ids out, until it is void: in each child from the start, here from `revoke` on.

    It is a page of memory that says yes for each id, and that the kernel wipes in a child. So C
    code can look there for each id. Where no kernel does that, the process id is compared instead,
    for each id and in C as well, at about seven times the time.
    """

    def __init__(self, size: int = CHUNK) -> None:
        """`size` is how many ids it lets out at a time."""
        memory = _wiped_in_children(size)
        self.size = size
        self._pid = os.getpid() if memory is None else None
        self._memory = bytearray(b"\1") * size if memory is None else memory
        self._valid = memoryview(self._memory).cast("?")

    def guard(self, ids: Iterator[int]) -> Iterator[int]:
        """Iterate over ids, at most `size` of them; over none any more once the page is void."""
        if self._pid is None:
            return itertools.compress(ids, self._valid)
        mine = map(self._pid.__eq__, iter(os.getpid, None))
        return itertools.compress(ids, map(operator.and_, self._valid, mine))

    def revoke(self) -> None:
        """Let out no further id, whoever holds it."""
        self._memory[:] = bytes(self.size)


class Mark(Protocol):
    """Says at index 0 whether the process that made it is the one that looks."""

    def __getitem__(self, _: int, /) -> bool: ...


class Process:
    """One process, as its clients and sequences remember it. Threads share it."""

    def __init__(self, gap: Callable[[], float]) -> None:
        """`gap` tells the seconds between wall clock and monotonic clock."""
        memory = _wiped_in_children(1)
        self.alive: Mark = _SamePid() if memory is None else memoryview(memory).cast("?")
        """At index 0, whether this is still that process; looked at for each call."""
        self.page = LeasePage()
        self.restores = 0
        """How often memory was set back, as far as that was noticed."""
        self._clock_gap = gap
        self._gap = gap()

    @property
    def gone(self) -> bool:
        """Whether this is a child of that process."""
        return not self.alive[0]

    def look_at_clocks(self) -> None:
        """Notice that memory was set back: the wall clock went on, the monotonic one did not."""
        gap = self._clock_gap()
        before, self._gap = self._gap, gap
        if abs(gap - before) > _JUMP:
            self.restored()

    def restored(self) -> None:
        """Void all that was leased; `restores` tells connections."""
        before, self.page = self.page, LeasePage()
        self.restores += 1
        before.revoke()


class Locks:
    """A lock in each process: a child may get its parent's copy in locked state, for ever."""

    def __init__(self) -> None:
        self._by_process: dict[int, threading.RLock] = {}

    def mine(self) -> "threading.RLock":
        """Return the lock of this process. The garbage collector may come by while it is held."""
        return self._by_process.setdefault(os.getpid(), threading.RLock())


class Memory:
    """Knows the process that runs; `MEMORY` is for all."""

    def __init__(self, gap: Callable[[], float] | None = None) -> None:
        self._gap = gap or _clock_gap
        self._locks = Locks()
        self._process: Process | None = None

    def process(self) -> Process:
        """Return the present process."""
        process = self._process
        if process is None or process.gone:
            with self._locks.mine():
                process = self._process
                if process is None or process.gone:
                    process = self._process = Process(self._gap)
        return process


class _SamePid:
    def __init__(self) -> None:
        self._pid = os.getpid()

    def __getitem__(self, _: int) -> bool:
        return os.getpid() == self._pid


def _wiped_in_children(size: int) -> mmap.mmap | None:
    """Return memory full of ones that is full of zeros in every child; None if there is none."""
    try:
        memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        memory.madvise(_WIPE_ON_FORK)
    except (AttributeError, OSError, TypeError, ValueError):  # another system, or an older kernel
        return None
    if not _heeds_advice(memory):
        return None
    memory[:] = b"\1" * size
    return memory


def _heeds_advice(memory: mmap.mmap) -> bool:
    """Tell a kernel from an emulator that says yes to each advice, and does nothing."""
    try:
        memory.madvise(-1)
    except OSError:
        return True
    return False


def _clock_gap() -> float:
    return time.time() - time.monotonic()


MEMORY = Memory()

_Value = TypeVar("_Value")


class PerProcess(Generic[_Value]):
    """A value that each process has for itself: a child begins with a new one. Threads share it."""

    def __init__(self, new: Callable[[], _Value]) -> None:
        self._new = new
        self._locks = Locks()
        self._begin()

    def _begin(self) -> None:
        self._value = self._new()
        self._process = MEMORY.process()

    def mine(self) -> _Value:
        """Return that of this process."""
        if self._process.gone:
            with self._locks.mine():
                if self._process.gone:
                    self._begin()
        return self._value


def after_restore() -> None:
    """Say that this process's memory was rolled back, by a snapshot of a machine or container.

    All clients and sequences drop their leased ids at once, and open their connections anew. It may
    be called from any thread. Clients notice a restore by themselves within a second, by the
    clocks; call this from your runtime's hook for restores to be earlier.
    """
    MEMORY.process().restored()
