"""A page of memory in which a worker's processes show that they run, and whether they serve.

The I/O thread of each process writes its slot, at the cost of a store to memory; who answers probes
reads them all: the HTTP server of the first process, and `idalloc worker --probe` from outside. It
imports little and nothing of ours, so that a probe costs hardly more than Python's start.
"""

import contextlib
import mmap
import os
import struct
import time

BEAT = 0.5
"""Seconds between two beats of an I/O thread."""

LIVE_WITHIN = 10.0
"""Seconds without a beat after which a process hangs: more than a busy machine's hiccup."""

START_WITHIN = 60.0
"""Seconds that a process may take until its first beat: importing takes long on a busy machine."""

DATABASE_WITHIN = 30.0
"""Seconds for which a use of the database counts: every worker looks at it each 5 to 15 s."""

_HEADER = struct.Struct("=8sI4x")
_MAGIC = b"idalloc1"
_SLOT = struct.Struct("=ddB7x")  # last beat, last use of the database, flags
_STATES = struct.Struct("=B")
_STATE_AT = _SLOT.size  # apart, as another thread writes it
_STRIDE = 32

CONNECTED, CONSUMING, DATABASE = 1, 2, 4
_WANTED = (
    (CONNECTED, "no connection to the broker"),
    (CONSUMING, "connected to the broker, but not consuming yet"),
    (DATABASE, "the database could not be used when it was last needed"),
)
_RUNS, _DRAINS, _ENDED = 0, 1, 2


class VitalsError(Exception):
    """There is no page to be read."""


class Vitals:
    """Slots 1 to `processes` belong to their I/O threads, 0 to a supervisor's main thread.

    Times are those of the monotonic clock, which all processes of a machine share.
    """

    def __init__(self, descriptor: int, *, writable: bool = True) -> None:
        self.descriptor = descriptor
        self._path = ""
        access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
        try:
            self._page = mmap.mmap(descriptor, 0, access=access)
            magic, self.processes = _HEADER.unpack_from(self._page)
            whole = len(self._page) == _size(self.processes)
        except (OSError, ValueError, struct.error) as error:
            raise VitalsError("no worker's") from error
        if magic != _MAGIC or not whole:
            raise VitalsError("no worker's")

    @classmethod
    def make(cls, processes: int, path: str = "") -> "Vitals":
        """Make a page, for others to find at `path` if that is given. Raises OSError."""
        if not path:
            return cls(_filled(os.memfd_create("idalloc-vitals"), processes))
        new = f"{path}.{os.getpid()}"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(new)  # noqa: PTH108  # pathlib takes long to import
        descriptor = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        vitals = cls(_filled(descriptor, processes))
        os.replace(new, path)  # noqa: PTH105
        vitals._path = path
        return vitals

    @classmethod
    def at(cls, path: str) -> "Vitals":
        """Read the page of a running worker. Raises OSError or VitalsError."""
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return cls(descriptor, writable=False)
        finally:
            os.close(descriptor)

    def remove(self) -> None:
        """Take away what others would find: the worker has ended."""
        if self._path:
            with contextlib.suppress(OSError):
                os.unlink(self._path)  # noqa: PTH108

    # What processes say

    def beat(self, number: int, flags: int = 0, database_at: float = 0.0) -> None:
        """Say that a process runs."""
        _SLOT.pack_into(self._page, _at(number), time.monotonic(), database_at, flags)

    def starts(self, number: int) -> None:
        """Say that a process was started: its first beat may take a while."""
        grace = START_WITHIN - LIVE_WITHIN
        _SLOT.pack_into(self._page, _at(number), time.monotonic() + grace, 0.0, 0)
        self._set_state(number, _RUNS)

    def drains(self, number: int) -> None:
        """Say that a process is stopping."""
        self._set_state(number, _DRAINS)

    def ended(self, number: int, *, for_good: bool) -> None:
        """Say that a process has ended; unless for good it is missed from now on."""
        beat, *_ = _SLOT.unpack_from(self._page, _at(number))
        # A grace that it had is over: another one has to be started within the time for a beat.
        _SLOT.pack_into(self._page, _at(number), min(beat, time.monotonic()), 0.0, 0)
        self._set_state(number, _ENDED if for_good else _RUNS)

    def _set_state(self, number: int, state: int) -> None:
        _STATES.pack_into(self._page, _at(number) + _STATE_AT, state)

    # What is told

    def problems(self, probe: str) -> list[str]:
        """Say why a worker is not live, or not ready; nothing if it is."""
        now = time.monotonic()
        if probe == "live":
            slots = range(self.processes + 1)
            return [found for number in slots if (found := self._stuck(number, now))]
        if self._is_draining():
            return ["draining: the worker is stopping"]
        missing = ((number, self._missing(number, now)) for number in range(1, self.processes + 1))
        return [f"process {number}: {found}" for number, found in missing if found]

    def beats(self) -> bool:
        """Tell whether every process has run at least once."""
        now = time.monotonic()
        return all(0 < self._slot(number)[0] <= now for number in range(1, self.processes + 1))

    def _slot(self, number: int) -> "tuple[float, float, int, int]":
        beat, database_at, flags = _SLOT.unpack_from(self._page, _at(number))
        (state,) = _STATES.unpack_from(self._page, _at(number) + _STATE_AT)
        return beat, database_at, flags, state

    def _is_draining(self) -> bool:
        return any(self._slot(number)[3] != _RUNS for number in range(self.processes + 1))

    def _stuck(self, number: int, now: float) -> str:
        beat, _, _, state = self._slot(number)
        if state == _ENDED or (number == 0 and not beat):  # a lone process has no supervisor
            return ""
        who = f"process {number}" if number else "the supervisor"
        # The clock begins anew with the machine, and a file may be older.
        if beat - now > START_WITHIN or not beat:
            return f"{who}: never ran"
        if now - beat > LIVE_WITHIN:
            return f"{who}: has not run for {now - beat:.0f} s"
        return ""

    def _missing(self, number: int, now: float) -> str:
        beat, database_at, flags, _ = self._slot(number)
        if not 0 <= now - beat <= LIVE_WITHIN:
            return "does not run"
        for flag, problem in _WANTED:
            if not flags & flag:
                return problem
        if now - database_at <= DATABASE_WITHIN:
            return ""
        since = f"for {now - database_at:.0f} s" if database_at else "yet"
        return f"the database has not been used {since}"


def _size(processes: int) -> int:
    return _HEADER.size + (processes + 1) * _STRIDE


def _at(number: int) -> int:
    return _HEADER.size + number * _STRIDE


def _filled(descriptor: int, processes: int) -> int:
    os.truncate(descriptor, _size(processes))
    os.pwrite(descriptor, _HEADER.pack(_MAGIC, processes), 0)
    return descriptor
