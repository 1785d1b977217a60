"""Decides which connections the metrics server keeps: few, and none for long."""

import contextlib
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

MOST_CONNECTIONS: Final = 16
LONGEST: Final = 10.0
"""Seconds that a connection may last, however its time is spent."""

IN_A_CROWD: Final = 0.003
"""Seconds until the next one is let in, where one has to make room for it."""


@dataclass(slots=True)
class _Connection:
    sock: socket.socket
    address: str
    deadline: float
    asked: bool = False  # whether its whole request has arrived


class Admission:
    """The connections that are open; used by the thread that accepts and those that serve.

    Where there is no room for one more, the oldest that has not yet said what it wants makes room,
    of the address that has most of those. So who asks at once is answered, whatever others do.
    Where all have said it, and do not read the answer, an address does that has more than others.
    """

    def __init__(
        self,
        most: int = MOST_CONNECTIONS,
        longest: float = LONGEST,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._pause = pause
        self._most = most
        self._longest = longest
        self._clock = clock
        self._lock = threading.Lock()  # guards the two below
        self._open: dict[int, _Connection] = {}  # in the order in which they came
        self._leaving: dict[int, _Connection] = {}  # cut, and not yet closed by their threads

    def admit(self, sock: socket.socket, address: str) -> bool:
        """Let a connection in, if there is room or can be made. In a crowd it takes its time."""
        with self._lock:
            self._cut_overdue()
            crowded = len(self._open) >= self._most
            admitted = not crowded or self._make_room(address)
            if admitted:
                deadline = self._clock() + self._longest
                self._open[id(sock)] = _Connection(sock, address, deadline)
        if crowded:  # requests for ids are handled in the same process
            self._pause(IN_A_CROWD)
        return admitted

    def asked(self, sock: socket.socket) -> None:
        """Note that a request has arrived whole."""
        with self._lock:
            if (connection := self._open.get(id(sock))) is not None:
                connection.asked = True

    def gone(self, sock: socket.socket) -> None:
        """Note that a connection is about to be closed."""
        with self._lock:
            self._open.pop(id(sock), None)
            self._leaving.pop(id(sock), None)

    def cut_overdue(self) -> None:
        """Cut those whose time is up. To be called now and then."""
        with self._lock:
            self._cut_overdue()

    def _cut_overdue(self) -> None:
        now = self._clock()
        for connection in [each for each in self._open.values() if each.deadline <= now]:
            self._cut(connection)

    def _make_room(self, newcomer: str) -> bool:
        # Those that were cut hold their descriptors until their threads have noticed.
        if len(self._leaving) >= self._most:
            return False
        silent = [each for each in self._open.values() if not each.asked]
        candidates = silent or self._beyond_their_share(newcomer)
        if not candidates:
            return False
        counts = Counter(each.address for each in candidates)
        crowd = max(counts, key=lambda address: counts[address])
        self._cut(next(each for each in candidates if each.address == crowd))
        return True

    def _beyond_their_share(self, newcomer: str) -> list[_Connection]:
        counts = Counter(each.address for each in self._open.values())
        share = counts[newcomer] + 1
        return [each for each in self._open.values() if counts[each.address] > share]

    def _cut(self, connection: _Connection) -> None:
        key = id(connection.sock)
        self._leaving[key] = self._open.pop(key)
        with contextlib.suppress(OSError):  # the other side has gone
            connection.sock.shutdown(socket.SHUT_RDWR)
