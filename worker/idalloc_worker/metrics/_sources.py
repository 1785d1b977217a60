"""Gathers the snapshots of a worker's processes, within a time bound: a hung one has none."""

import queue
import selectors
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

from idalloc_worker.metrics._snapshot import SNAPSHOT, Snapshot
from idalloc_worker.metrics._snapshot_taker import OnTaken

GATHER_TIMEOUT: Final = 2.0
"""Seconds within which a process must answer; Prometheus gives up after 10 by default."""

_HEADER: Final = struct.Struct("!QI")  # the number of the question, the length of the answer
_QUESTION: Final = struct.Struct("!Q")
_CHUNK: Final = 65536

AskForSnapshot = Callable[[OnTaken], None]
"""Has a snapshot taken on the I/O thread; may be called from any thread."""


@dataclass(frozen=True, slots=True)
class ProcessState:
    """One process of a worker, by its number from 1; without a snapshot it is down, or hung."""

    number: int
    snapshot: Snapshot | None
    restarts: int = 0


class Source(Protocol):
    """Knows the processes of a worker. One thread at a time calls it."""

    def gather(self) -> Sequence[ProcessState]:
        """Ask each process once, within `GATHER_TIMEOUT`."""


class OwnProcess:
    """The only process of a worker without a supervisor: this one."""

    def __init__(self, ask: AskForSnapshot, timeout: float = GATHER_TIMEOUT) -> None:
        self._ask = ask
        self._timeout = timeout

    def gather(self) -> Sequence[ProcessState]:
        """Ask the I/O thread."""
        answer: queue.SimpleQueue[Snapshot] = queue.SimpleQueue()
        self._ask(answer.put)
        try:
            return [ProcessState(1, answer.get(timeout=self._timeout))]
        except queue.Empty:
            return [ProcessState(1, None)]


class Responder:
    """A supervised process's end: answers the supervisor's questions on a thread of its own."""

    def __init__(self, sock: socket.socket, ask: AskForSnapshot) -> None:
        self._socket = sock
        self._ask = ask

    def start(self) -> None:
        """Answer until the supervisor is gone."""
        threading.Thread(target=self._run, name="idalloc-metrics", daemon=True).start()

    def _run(self) -> None:
        answer: queue.SimpleQueue[Snapshot] = queue.SimpleQueue()
        with self._socket, suppress(OSError):  # the supervisor is gone: so are we, soon
            while questions := self._socket.recv(_CHUNK):
                # Of the questions that piled up while nobody answered, the last is the one that
                # somebody waits for. They come whole: 8 bytes at a time on a local socket.
                (number,) = _QUESTION.unpack(questions[-_QUESTION.size :])
                self._ask(answer.put)
                body = SNAPSHOT.dump_json(answer.get())
                self._socket.sendall(_HEADER.pack(number, len(body)) + body)


class ChildLink:
    """The supervisor's end for one process; a process that is replaced gets a new link."""

    def __init__(self, sock: socket.socket) -> None:
        self._ours = sock
        self._ours.setblocking(False)  # noqa: FBT003  # its only argument
        self._received = bytearray()

    def fileno(self) -> int:
        """Let selectors watch it."""
        return self._ours.fileno()

    def close(self) -> None:
        """Give it up. The child does not take that for an order to stop."""
        self._ours.close()

    def ask(self, number: int) -> bool:
        """Send a question; False if the child is gone, or has not read any for very long."""
        try:
            return self._ours.send(_QUESTION.pack(number)) == _QUESTION.size
        except OSError:
            return False

    def read(self, number: int) -> Snapshot | None:
        """Take in what has come: the answer to question `number` once it is complete.

        Answers that come too late are dropped. Raises OSError if the child is gone.
        """
        with suppress(BlockingIOError):
            received = self._ours.recv(_CHUNK)
            if not received:
                raise ConnectionResetError
            self._received += received
        while len(self._received) >= _HEADER.size:
            answered, length = _HEADER.unpack_from(self._received)
            end = _HEADER.size + length
            if len(self._received) < end:
                break
            body = bytes(self._received[_HEADER.size : end])
            del self._received[:end]
            if answered == number:
                return SNAPSHOT.validate_json(body)
        return None


class Children:
    """The processes of a supervisor.

    `new_link` and `ended` belong to the supervisor's thread, and never wait for a process; `gather`
    to one that serves.
    """

    def __init__(self, numbers: Sequence[int], timeout: float = GATHER_TIMEOUT) -> None:
        self._timeout = timeout
        self._lock = threading.Lock()  # guards the next three: held only to read or change them
        self._links: dict[int, ChildLink | None] = dict.fromkeys(numbers)
        self._starts = dict.fromkeys(numbers, 0)
        self._ended: list[ChildLink] = []
        self._gathering = threading.Lock()  # held while links are in use, which are not closed then
        self._question = 0

    def new_link(self, number: int) -> socket.socket:
        """Link with a process that is about to start; returns the end for it to inherit."""
        ours, theirs = socket.socketpair()
        with self._lock:
            self._links[number] = ChildLink(ours)
            self._starts[number] += 1
        return theirs

    def not_started(self, number: int) -> None:
        """Take `new_link` back: there was no process to be had."""
        self.ended(number)
        with self._lock:
            self._starts[number] -= 1

    def ended(self, number: int) -> None:
        """Forget the link of a process that has ended."""
        with self._lock:
            link, self._links[number] = self._links[number], None
            if link is not None:
                self._ended.append(link)
        if self._gathering.acquire(blocking=False):
            try:
                self._close_ended()
            finally:
                self._gathering.release()

    def gather(self) -> Sequence[ProcessState]:
        """Ask all processes at the same time."""
        with self._gathering:
            try:
                return self._gather()
            finally:
                self._close_ended()

    def _close_ended(self) -> None:
        with self._lock:
            ended, self._ended = self._ended, []
        for link in ended:
            link.close()

    def _gather(self) -> list[ProcessState]:
        with self._lock:
            links, starts = dict(self._links), dict(self._starts)
        self._question += 1
        asked = {
            number: link
            for number, link in links.items()
            if link is not None and link.ask(self._question)
        }
        answers = _answers(asked, self._question, time.monotonic() + self._timeout)
        return [
            ProcessState(number, answers.get(number), max(starts[number] - 1, 0))
            for number in sorted(links)
        ]


def _answers(asked: Mapping[int, ChildLink], question: int, deadline: float) -> dict[int, Snapshot]:
    answers: dict[int, Snapshot] = {}
    with selectors.DefaultSelector() as selector:
        for number, link in asked.items():
            selector.register(link, selectors.EVENT_READ, number)
        while selector.get_map() and (time_left := deadline - time.monotonic()) > 0:
            for key, _ in selector.select(time_left):
                link = asked[key.data]
                try:
                    snapshot = link.read(question)
                except OSError:
                    selector.unregister(link)
                    continue
                if snapshot is not None:
                    answers[key.data] = snapshot
                    selector.unregister(link)
    return answers
