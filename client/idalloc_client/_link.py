"""Keeps one AMQP connection open: one thread owns it, reconnects it, and runs what others post."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import pika
from pika.adapters.select_connection import IOLoop
from pika.channel import Channel
from pika.connection import Connection, Parameters

from idalloc_client._backoff import Backoff
from idalloc_client._joined_io import JoinedIO
from idalloc_client._reason import describe

_log = logging.getLogger("idalloc.link")

Callback = Callable[[], None]

_STEADY_AFTER = 5.0  # seconds: a connection that lasted this long resets the backoff


class LinkHandler(Protocol):
    """What the owner of a link is told, always on the link's thread."""

    def on_ready(self, channel: Channel) -> None:
        """Take a fresh channel. Delivery tags and consumers of earlier ones are void."""

    def on_lost(self, reason: BaseException) -> None:
        """Stop using the channel; the link is looking for another one."""

    def on_blocked(self, *, blocked: bool) -> None:
        """Stop publishing (the broker is short of memory or disk), or go on."""


class Link:
    """One connection with one channel, for as long as it is started.

    `start`, `stop` and `post` may be called from any thread; everything else belongs to the link's
    own thread, on which the handler is called too. pika is not thread-safe, so nothing else
    touches the connection.
    """

    def __init__(
        self,
        parameters: Parameters,
        handler: LinkHandler,
        *,
        thread_name: str,
        backoff: Backoff | None = None,
    ) -> None:
        self._parameters = parameters
        self._handler = handler
        self._backoff = backoff or Backoff(0.1, 2.0)
        self._thread = threading.Thread(target=self._run, name=thread_name, daemon=True)
        self._loop: IOLoop | None = None
        self._joined_io: JoinedIO | None = None
        self._soon: list[Callback] = []
        self._started = threading.Event()
        self._posted: deque[Callback] = deque()
        self._wake_pending = False
        self._connection: Connection | None = None
        self._channel: Channel | None = None
        self._ready_since: float | None = None
        self._last_reason: str | None = None
        self._stopping = False
        self._stopped = False

    # From any thread

    def start(self) -> None:
        """Start the thread; the connection follows."""
        self._thread.start()
        self._started.wait()

    def post(self, callback: Callback) -> None:
        """Run a callback on the link's thread, soon. After `stop` it is dropped."""
        self._posted.append(callback)
        loop = self._loop
        # One wake-up serves all that is posted before the thread gets to it.
        if not self._wake_pending and loop is not None and not self._stopped:
            self._wake_pending = True
            loop.add_callback_threadsafe(self._run_posted)

    def stop(self, timeout: float) -> bool:
        """Flush, close and end the thread; False if it did not end within `timeout` seconds."""
        if not self._thread.is_alive():
            return True
        deadline = time.monotonic() + timeout
        self.post(lambda: self._begin_stop(deadline))
        if threading.current_thread() is self._thread:
            return False  # a callback asks: the thread ends once it returns
        self._thread.join(timeout + 1.0)
        return not self._thread.is_alive()

    # From the link's thread

    def call_later(self, delay: float, callback: Callback) -> object:
        """Run a callback after `delay` seconds; returns what `cancel_timer` takes."""
        return self._io().call_later(max(delay, 0.0), lambda: self._guarded(callback))

    def call_soon(self, callback: Callback) -> None:
        """Run a callback when what was read from the socket, or posted, has been handled."""
        self._soon.append(callback)
        if self._joined_io is not None and not self._joined_io.holding:
            self._io().add_callback(self._run_soon)

    def cancel_timer(self, timer: Any) -> None:
        """Forget a timer."""
        self._io().remove_timeout(timer)

    def reset_channel(self, reason: BaseException) -> None:
        """Give up the present channel, and open another one after a pause."""
        channel, self._channel = self._channel, None
        if channel is not None:
            self._tell_channel_lost(reason)
            if channel.is_open:
                channel.close()
            self._reopen_channel_later()

    # The thread

    def _run(self) -> None:
        self._loop = IOLoop()
        self._joined_io = JoinedIO(self._loop, self._run_soon)
        self._started.set()
        self._run_posted()  # what was posted before there was a loop to wake
        self._connect()
        while not self._stopped:
            try:
                self._loop.start()
            except Exception as error:  # noqa: BLE001  # logged, and the loop starts over
                # pika lets an exception of its own callbacks end the loop. Start over.
                _log.exception("The AMQP connection failed unexpectedly; reconnecting")
                self._discard_connection(error)
            else:
                self._stopped = True
        self._loop.close()

    def _io(self) -> IOLoop:
        assert self._loop is not None, "the link is not started"  # noqa: S101  # owner's mistake
        return self._loop

    def _run_posted(self) -> None:
        assert self._joined_io is not None  # noqa: S101  # the thread has made it
        self._wake_pending = False  # first, so that a later post wakes the thread again
        with self._joined_io.one_write():
            while self._posted:
                self._guarded(self._posted.popleft())
            self._run_soon()

    def _run_soon(self) -> None:
        callbacks, self._soon = self._soon, []
        for callback in callbacks:
            self._guarded(callback)

    def _guarded(self, callback: Callback) -> None:
        try:
            callback()
        except Exception:  # noqa: BLE001  # one bad callback must not take the connection down
            _log.exception("A callback on the AMQP thread failed")

    # Connecting

    def _connect(self) -> None:
        if self._stopping:
            return
        self._connection = pika.SelectConnection(
            self._parameters,
            on_open_callback=self._on_open,
            on_open_error_callback=self._on_closed,
            on_close_callback=self._on_closed,
            custom_ioloop=self._joined_io,
        )

    def _on_open(self, connection: Connection) -> None:
        if connection is not self._connection:
            return
        _log.info("Connected to the broker")
        connection.add_on_connection_blocked_callback(lambda *_: self._tell_blocked(blocked=True))
        connection.add_on_connection_unblocked_callback(
            lambda *_: self._tell_blocked(blocked=False)
        )
        self._open_channel()

    def _on_closed(self, connection: Connection, reason: BaseException) -> None:
        if connection is not self._connection:
            return  # an earlier one that was discarded
        self._connection = self._channel = None
        self._tell_lost(reason)
        if self._stopping:
            self._io().stop()
        else:
            self._reconnect_later()

    def _reconnect_later(self) -> None:
        self._io().call_later(self._next_delay(), self._connect)

    def _discard_connection(self, reason: BaseException) -> None:
        connection, self._connection, self._channel = self._connection, None, None
        self._tell_lost(reason)
        if connection is not None and not (connection.is_closed or connection.is_closing):
            self._guarded(connection.close)
        if self._stopping:
            self._stopped = True
        else:
            self._reconnect_later()

    def _next_delay(self) -> float:
        ready_since, self._ready_since = self._ready_since, None
        if ready_since is not None and time.monotonic() - ready_since >= _STEADY_AFTER:
            self._backoff.reset()
        return self._backoff.next_delay()

    # The channel

    def _open_channel(self) -> None:
        connection = self._connection
        if connection is not None and connection.is_open and not self._stopping:
            connection.channel(on_open_callback=self._on_channel_open)

    def _on_channel_open(self, channel: Channel) -> None:
        channel.add_on_close_callback(self._on_channel_closed)
        self._channel = channel
        self._last_reason = None
        self._ready_since = time.monotonic()
        self._guarded(lambda: self._handler.on_ready(channel))

    def _on_channel_closed(self, channel: Channel, reason: BaseException) -> None:
        if channel is not self._channel:
            return
        self._channel = None
        connection = self._connection
        if connection is not None and connection.is_open:  # else `_on_closed` speaks
            self._tell_channel_lost(reason)
            self._reopen_channel_later()

    def _reopen_channel_later(self) -> None:
        self._io().call_later(self._next_delay(), self._open_channel)

    def _tell_lost(self, reason: BaseException) -> None:
        words = describe(reason)
        if not self._stopping:
            # A broker that is away for long is one line, not one for each attempt.
            level = logging.DEBUG if words == self._last_reason else logging.WARNING
            _log.log(level, "No connection to the broker: %s; trying again", words)
        self._last_reason = words
        self._guarded(lambda: self._handler.on_lost(reason))

    def _tell_channel_lost(self, reason: BaseException) -> None:
        _log.info("The broker closed the channel: %s; opening another", describe(reason))
        self._guarded(lambda: self._handler.on_lost(reason))

    def _tell_blocked(self, *, blocked: bool) -> None:
        if blocked:
            _log.warning("The broker blocks publishers: it is short of memory or disk space")
        self._guarded(lambda: self._handler.on_blocked(blocked=blocked))

    # Stopping

    def _begin_stop(self, deadline: float) -> None:
        if self._stopping:
            return
        self._stopping = True
        connection = self._connection
        if connection is None:
            self._io().stop()
            return
        # What was written before the close is sent before it: AMQP keeps the order.
        if not (connection.is_closed or connection.is_closing):
            self._guarded(connection.close)
        self._io().call_later(max(deadline - time.monotonic(), 0.0), self._io().stop)
