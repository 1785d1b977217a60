"""Reads the stream of marks past messages that end the connection of whoever reads them.

Anybody may write to the stream, over AMQP 1.0 also what RabbitMQ cannot turn into AMQP 0-9-1
(`_quarantine.py`). It stays there: each worker that starts would end by it, and end again. So once
a connection was lost that way while the stream was being read, it is read over a connection of its
own: many at a time until that ends, then singly up to the message over which it ends again, which
is skipped.
"""

import logging
from typing import Any, Final

from idalloc_client.amqp import (
    Backoff,
    Basic,
    BasicProperties,
    Callback,
    Channel,
    MessageChannel,
    NewLink,
    SideLink,
    ended_by_message,
)
from idalloc_worker.marks._marks_stream import ACK_EVERY, PREFETCH, MarksStream

_log = logging.getLogger("idalloc.fleet")

_MOST_SKIPPED: Final = 200
"""Messages in one reading, some seconds of work: then it is done without what the broker remembers,
and tried again."""


_MOST_FAILURES: Final = 3  # to connect, in a row


class CarefulStream(MarksStream):
    """Owned by the link's thread; a stream, and the handler of the link over which it is read."""

    beside: NewLink | None = None
    """Makes a link of its own; given once there is a loop."""

    _careful = False
    _singly = False
    _side: SideLink | None = None
    _skipped = 0
    _failures = 0
    _began = 0  # the first message that is due on this connection
    _backoff = Backoff(0.002, 2.0)

    def beware(self) -> None:
        """Hear, before it is closed, that a message ended the connection: perhaps one of these."""
        if self._opening is not None:  # its channel is gone already
            self._careful = True

    def close(self, on_closed: Callback = lambda: None) -> None:
        """Read no more."""
        side, self._side = self._side, None
        if side is None:
            super().close(on_closed)
        else:
            self._channel = self._connection = self._opening = None
            side.begin_stop(on_closed)

    def _open(self) -> None:
        if not self._careful or self.beside is None:
            super()._open()
        elif self._side is None:
            self._singly, self._skipped, self._failures = False, 0, 0
            self._backoff.reset()
            self._side = self.beside(handler=self, backoff=self._backoff)
            self._side.connect()

    # The link's handler

    def on_ready(self, channel: MessageChannel) -> None:
        """Begin, or go on after the last message that came."""
        if self._side is not None:
            self._failures = 0
            self._connection = channel.pika_channel.connection
            self._on_open(channel.pika_channel)

    def on_lost(self, reason: BaseException) -> None:
        """Skip the message that was due, if it was the only one that was on its way."""
        self._channel = None
        if self._side is None:
            return
        self._failures += 1
        if self._failures >= _MOST_FAILURES:
            self._refused("there is no further connection to be had, to read it past such messages")
        elif ended_by_message(reason) and self._next is not None:
            self._pass(self._next)

    def _pass(self, due: int) -> None:
        if not self._singly:
            self._singly = True
            return
        self._backoff.reset()
        self._singly = due == self._began  # one behind another costs a connection each, not two
        self._skipped += 1
        self._heard += 1  # that is progress too
        level = logging.WARNING if self._skipped == 1 else logging.DEBUG  # there may be many
        _log.log(level, "Skipping message %d of the stream: it ends the connection", due)
        self._next = due + 1
        if self._skipped >= _MOST_SKIPPED:
            self._refused(f"{self._skipped} of its messages each ended the connection")

    def on_blocked(self, *, blocked: bool) -> None:
        """Read on: nothing is published here."""

    def _begin(self, channel: Channel) -> None:
        if self._side is None:
            super()._begin(channel)
            return
        self._ack_every = 1 if self._singly else ACK_EVERY
        if self._next is None:  # only what is new: the worker's own message is, which it seeks
            channel.basic_qos(prefetch_count=PREFETCH)
            self._consume(channel, "next", self._handler.on_stream_open)
        else:
            self._began = self._next
            channel.basic_qos(prefetch_count=1 if self._singly else PREFETCH)
            self._consume(channel, self._next)

    def _on_message(self, method: Basic.Deliver, properties: BasicProperties, body: bytes) -> None:
        super()._on_message(method, properties, body)
        due, channel = self._next, self._channel
        if self._singly and due is not None and due - self._began >= PREFETCH and channel:
            self._singly = False  # many at a time again
            self.read_from(due)

    def _on_closed(self, channel: Channel, reason: Any) -> None:
        if self._side is None:
            super()._on_closed(channel, reason)
        elif channel is self._channel:
            self._channel = None  # the link speaks if it was its connection
            if channel.connection.is_open:
                self._refused(str(reason))
