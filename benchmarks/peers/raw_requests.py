"""Requests for one id each from a bare pika connection, as any AMQP library would send them.

No client gathers them, so each is a message of its own all the way. Either a fixed number is kept
in flight, or they are sent at a fixed pace whatever the answers do.
"""

import json
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle
from typing import Any

import pika
from pika.channel import Channel

from benchmarks.harness.runner import BenchmarkError
from idalloc_schemas import ALLOC_QUEUE

_REPLY_TO = "amq.rabbitmq.reply-to"
_LIMIT = 30.0  # seconds for a whole turn beyond its length
_TICK = 0.001  # seconds between two looks at what is due
_PROPERTIES = pika.BasicProperties(
    reply_to=_REPLY_TO, expiration="10000", content_type="application/json"
)


def rate(amqp_url: str, app_tag: str, in_flight: int, seconds: float) -> float:
    """Keep requests to idalloc in flight for some seconds; return ids per second."""
    with raw_requests(amqp_url, ALLOC_QUEUE, [app_tag]) as requests:
        return requests.rate(in_flight, seconds)


@contextmanager
def raw_requests(
    amqp_url: str, queue: str, app_tags: Sequence[str], count: int | None = None
) -> "Iterator[RawRequests]":
    """Have a connection, whose requests name the tags in turn, each for `count` ids."""
    requests = RawRequests(amqp_url, queue, app_tags, count)
    try:
        yield requests
    finally:
        requests.close()


class RawRequests:
    """One connection, whose loop runs during `rate` and `latencies` only.

    A `count` of None stands for requests that name none.
    """

    def __init__(
        self, amqp_url: str, queue: str, app_tags: Sequence[str], count: int | None = None
    ) -> None:
        self._queue = queue
        more = {} if count is None else {"count": count}
        self._bodies = cycle([json.dumps({"app_tag": tag, **more}).encode() for tag in app_tags])
        self._on_answer: Callable[[], None] = _ignore
        self._failure: object = None
        parameters = pika.URLParameters(amqp_url)
        parameters.heartbeat = 0  # between two turns nobody would answer
        self._connection = pika.SelectConnection(
            parameters, on_open_callback=self._open, on_open_error_callback=self._fail
        )
        self._connection.add_on_close_callback(self._fail)
        self._channel: Any = None
        self._run()

    def rate(self, in_flight: int, seconds: float) -> float:
        """Keep so many in flight for some seconds; return answers per second."""
        done, open_ = 0, in_flight
        began = time.perf_counter()
        until = began + seconds

        def on_answer() -> None:
            nonlocal done, open_
            done += 1
            if time.perf_counter() < until:
                self._send()
                return
            open_ -= 1
            if not open_:
                self._stop()

        self._on_answer = on_answer
        for _ in range(in_flight):
            self._send()
        self._run(seconds + _LIMIT)
        return done / (time.perf_counter() - began)

    def round_trips(self, in_flight: int, seconds: float) -> list[float]:
        """Keep so many in flight for some seconds; return how long each took, in seconds.

        Answers are taken to come in order, as one worker gives them.
        """
        taken, sent = list[float](), deque[float]()
        until = time.perf_counter() + seconds

        def send(now: float) -> None:
            sent.append(now)
            self._send()

        def on_answer() -> None:
            now = time.perf_counter()
            taken.append(now - sent.popleft())
            if now < until:
                send(now)
            elif not sent:
                self._stop()

        self._on_answer = on_answer
        for _ in range(in_flight):
            send(time.perf_counter())
        self._run(seconds + _LIMIT)
        return taken

    def latencies(self, pace: float, seconds: float) -> list[float]:
        """Send so many a second; return how long each took, in seconds, in the order of answers.

        The time of a request counts from when it was due, so that a wait of the sender is not
        hidden. Answers are taken to come in order, as one worker gives them.
        """
        total = int(pace * seconds)
        began = time.perf_counter()
        sent, taken = 0, list[float]()

        def send_due() -> None:
            nonlocal sent
            due = min(int((time.perf_counter() - began) * pace) + 1, total)
            for _ in range(sent, due):
                self._send()
            sent = due
            if sent < total:
                self._connection.ioloop.call_later(_TICK, send_due)

        def on_answer() -> None:
            taken.append(time.perf_counter() - began - len(taken) / pace)
            if len(taken) == total:
                self._stop()

        self._on_answer = on_answer
        send_due()
        self._run(seconds + _LIMIT)
        return taken

    def close(self) -> None:
        """Disconnect."""
        if self._connection.is_open:
            self._connection.close()
            self._connection.ioloop.start()

    def _open(self, connection: Any) -> None:
        connection.channel(on_open_callback=self._consume)

    def _consume(self, channel: Channel) -> None:
        self._channel = channel
        channel.basic_consume(
            _REPLY_TO, self._on_reply, auto_ack=True, callback=lambda _frame: self._stop()
        )

    def _send(self) -> None:
        self._channel.basic_publish("", self._queue, next(self._bodies), _PROPERTIES)

    def _on_reply(self, _channel: Channel, _method: object, _p: object, body: bytes) -> None:
        if body.startswith(b'{"resp_code":0'):
            self._on_answer()
        else:
            self._fail(body)

    def _fail(self, *why: object) -> None:
        self._failure = why[-1]
        self._stop()

    def _stop(self) -> None:
        self._connection.ioloop.stop()

    def _run(self, limit: float = _LIMIT) -> None:
        timer = self._connection.ioloop.call_later(limit, lambda: self._fail("no answer"))
        self._connection.ioloop.start()
        self._connection.ioloop.remove_timeout(timer)
        if self._failure is not None:
            raise BenchmarkError(f"a request failed: {self._failure!r}")


def _ignore() -> None:
    """Stand where nothing is expected."""
