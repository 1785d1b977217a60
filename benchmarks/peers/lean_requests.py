"""Requests for one id each, sent and counted with as little work as there can be.

Where the slowest of a thousand requests is looked for, the sender must not be what is slow. pika
hands each frame to the socket by itself and reads nothing meanwhile: most of what it measured was
its own. Here a request is bytes that were prepared, all that are due leave in one write, and an
answer is known by its first bytes.
"""

import select
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from pika import BasicProperties

from benchmarks.harness.runner import BenchmarkError
from devstack.attacks.wire import DIRECT_REPLY_TO, RawConnection, message

REQUEST: Final = b'{"app_tag":"%s"}'
ANSWER: Final = b'{"resp_code":0'
_REFUSAL: Final = b'{"resp_code":-'
_KEPT: Final = len(ANSWER) - 1  # bytes of what was read, which may begin an answer
_PROPERTIES: Final = BasicProperties(
    reply_to=DIRECT_REPLY_TO, expiration="10000", content_type="application/json"
)
_READ: Final = 65_536  # bytes
_LIMIT: Final = 30.0  # seconds in which something comes


@dataclass
class Times:
    """When each request was due, sent and answered, in seconds of `perf_counter`.

    Answers are taken to come in order, as one worker gives them.
    """

    due: list[float] = field(default_factory=list)
    sent: list[float] = field(default_factory=list)
    answered: list[float] = field(default_factory=list)

    @property
    def taken(self) -> list[float]:
        """How long each took since it was due: a wait of the sender is not hidden."""
        return [end - due for due, end in zip(self.due, self.answered, strict=True)]


@contextmanager
def lean_requests(amqp_url: str, queue: str, app_tag: str) -> "Iterator[LeanRequests]":
    """Have a connection whose requests go to a queue."""
    with LeanRequests(amqp_url, queue, app_tag) as requests:
        yield requests


class LeanRequests(RawConnection):
    """One connection, which is read only while it is measured."""

    def __init__(self, amqp_url: str, queue: str, app_tag: str) -> None:
        super().__init__(amqp_url)
        self._socket.settimeout(_LIMIT)
        self.no_delay()
        self._request = message(queue, REQUEST % app_tag.encode(), _PROPERTIES)
        self._kept = b""

    def no_delay(self) -> None:
        """Have each write leave at once, as clients of AMQP do."""
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def rate(self, in_flight: int, seconds: float) -> float:
        """Keep so many in flight for some seconds; return answers per second."""
        began = time.perf_counter()
        until = began + seconds
        self._send(in_flight)
        done, open_ = 0, in_flight
        while open_:
            come = self._answers()
            done += come
            open_ -= come
            if come and time.perf_counter() < until:
                self._send(come)
                open_ += come
        return done / (time.perf_counter() - began)

    def round_trips(self, seconds: float) -> Times:
        """Send the next one when the answer is there, for some seconds."""
        times = Times()
        until = time.perf_counter() + seconds
        while (now := time.perf_counter()) < until:
            times.due.append(now)
            times.sent.append(now)
            self._send(1)
            while not self._answers():
                pass
            times.answered.append(time.perf_counter())
        return times

    def paced(self, pace: float, seconds: float) -> Times:
        """Send so many a second, each when it is due."""
        total = int(pace * seconds)
        began = time.perf_counter()
        times = Times([began + number / pace for number in range(total)])
        while len(times.answered) < total:
            sent, now = len(times.sent), time.perf_counter()
            due = min(int((now - began) * pace) + 1, total)
            if due > sent:
                times.sent += [now] * (due - sent)
                self._send(due - sent)
            wait = times.due[due] - time.perf_counter() if due < total else _LIMIT
            if select.select([self._socket], [], [], max(wait, 0.0))[0]:
                come = self._answers()
                times.answered += [time.perf_counter()] * come
            elif due == total:
                raise BenchmarkError("a request failed: no answer")
        return times

    def _send(self, number: int) -> None:
        self._socket.sendall(self._request * number)

    def _answers(self) -> int:
        """Wait for something to read; count the answers in it."""
        try:
            read = self._socket.recv(_READ)
        except TimeoutError as error:
            raise BenchmarkError("a request failed: no answer") from error
        if not read:
            raise BenchmarkError("a request failed: the broker closed the connection")
        data = self._kept + read
        self._kept = data[-_KEPT:]
        if _REFUSAL in data:
            raise BenchmarkError(f"a request failed: {data[data.index(_REFUSAL) :][:200]!r}")
        return data.count(ANSWER)
