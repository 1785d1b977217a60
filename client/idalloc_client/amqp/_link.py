"""Keeps one AMQP connection open on one I/O loop: connects, reconnects, stops."""

import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

import pika
from pika.channel import Channel
from pika.connection import Connection
from pika.exceptions import AMQPError, AMQPHeartbeatTimeout

from idalloc_client.amqp._backoff import Backoff
from idalloc_client.amqp._broker_url import Credentials, named
from idalloc_client.amqp._brokers import BrokerChoice
from idalloc_client.amqp._io import (
    THIS_PROCESS,
    Callback,
    Compatibility,
    LinkIO,
    MessageChannel,
    PikaChannel,
    PikaIO,
    SelectorLoop,
)
from idalloc_client.amqp._reason import describe
from idalloc_client.amqp._silence import LOOK_EVERY, SilenceWatch
from idalloc_client.amqp._url import Brokers

_log = logging.getLogger("idalloc.link")


def nothing() -> None:
    """Take note of an end that nobody waits for."""


_GIVE_UP_TIME = 0.05  # seconds that pika has to take back what it began
GOODBYE_TIME = 5.0  # seconds that a broker has to answer a goodbye
_STEADY_AFTER = 5.0  # seconds: a connection that lasted this long resets the backoff


class Timer(Protocol):
    """What `Link.call_later` returns."""

    def cancel(self) -> None:
        """Forget the callback."""


class LinkHandler(Protocol):
    """What the owner of a link is told, always on the thread of its loop."""

    def on_ready(self, channel: MessageChannel) -> None:
        """Take a fresh channel. Delivery tags and consumers of lost ones are void."""

    def on_lost(self, reason: BaseException) -> None:
        """Stop using the channel; the link is looking for another one."""

    def on_blocked(self, *, blocked: bool) -> None:
        """Stop publishing (the broker is short of memory or disk), or go on."""


class SideLink(Protocol):
    """What it needs of a further link."""

    def connect(self) -> None:
        """Open the connection, and keep it open."""

    def begin_stop(self, on_stopped: Callback) -> None:
        """Close it for good."""


class NewLink(Protocol):
    """Makes a further link."""

    def __call__(self, *, handler: LinkHandler, backoff: Backoff) -> SideLink:
        """Make one that is not connected yet, and pauses between its attempts as `backoff` says."""


class _Nobody:
    """Hears what nobody wants to hear any more."""

    def __getattr__(self, _name: str) -> Callable[..., None]:
        return lambda *_args, **_kwargs: None


class Link:
    """One connection with one channel, from `connect` to `begin_stop`, to one of `brokers`.

    The first ones are preferred. It moves to another one at once when that is refused, lost, or
    silent for one and a half heartbeats, and stays with what works.

    It belongs to the thread that runs its loop, and calls its handler there. pika is not
    thread-safe, so nothing else touches the connection.
    """

    def __init__(
        self,
        brokers: Brokers,
        handler: LinkHandler,
        loop: SelectorLoop,
        *,
        backoff: Backoff | None = None,
        compatibility: Compatibility = THIS_PROCESS,
    ) -> None:
        self._handler = handler
        self._backoff = backoff or Backoff(0.1, 2.0)
        self._brokers = BrokerChoice(brokers, self._backoff)
        self._loop = loop
        self._compatibility = compatibility
        self._loudest = logging.CRITICAL
        self._aside = False
        self._io: LinkIO = PikaIO(loop, self._on_failure)  # for timers, until it connects
        self._given_up: set[LinkIO] = set()  # whose connections may not have ended yet
        self._soon: list[Callback] = []
        self._connection: Connection | None = None
        self._channel: Channel | None = None
        self._pause = 0.0  # seconds before the next attempt
        self._ready_since: float | None = None
        self._last_reason: str | None = None
        self._channel_reasons: set[str] = set()  # that were told since the connection was opened
        self._on_stopped: Callback | None = None
        self._last_timer: Timer | None = None

    def run(self, callbacks: deque[Callback]) -> None:
        """Run callbacks, and send what they write in one piece."""
        io = self._io
        try:
            with io.write_batch:
                while callbacks:
                    self.guarded(callbacks.popleft())
                self._run_soon()
        except Exception as error:  # noqa: BLE001  # half of what was written may have left
            self._on_failure(io, error)

    def call_later(self, delay: float, callback: Callback) -> Timer:
        """Run a callback after `delay` seconds."""
        timer: Timer = self._io.call_later(max(delay, 0.0), lambda: self.guarded(callback))
        return timer

    def call_soon(self, callback: Callback) -> None:
        """Run a callback when what was read from the socket, or handed to `run`, is done."""
        self._soon.append(callback)
        if not self._io.write_batch.holding:
            self._io.add_callback_threadsafe(self._run_soon)

    def message_channel(self, channel: Channel) -> MessageChannel:
        """Use a further channel, which the handler opened on the present connection."""
        if channel.connection is not self._connection:
            raise ValueError("the channel belongs to an earlier connection")
        try:
            usable = self._io.message_channel(channel)
        except Exception as error:  # noqa: BLE001  # pika alone can do it too
            self._compatibility.doubt(self._io, error)
            usable = PikaChannel(channel)
        channel.add_on_close_callback(lambda *_: usable.forget())
        return usable

    def beside(
        self,
        handler: LinkHandler,
        what: str,
        *,
        backoff: Backoff | None = None,
        quiet: bool = False,
    ) -> "Link":
        """Make a link of its own to the same broker, on the same loop; `what` is for people.

        Whoever stops it hears no more of it, and may use the same handler for another one.
        `quiet` if they need not hear when it is lost.
        """
        brokers = [named(each, what, self._credentials) for each in self._brokers.in_turn()]
        link = Link(
            brokers, handler, self._loop, backoff=backoff, compatibility=self._compatibility
        )
        link._aside = True  # its own class
        if quiet:
            link._loudest = logging.DEBUG
        return link

    def _credentials(self) -> Credentials | None:
        return None if self._connection is None else self._connection.params.credentials

    def reset_channel(self, reason: BaseException) -> None:
        """Give up the present channel, and open another one after a pause."""
        channel, self._channel = self._channel, None
        if channel is not None:
            self._tell_channel_lost(reason)
            if channel.is_open:
                channel.close()
            self._reopen_channel_later()

    def reset_connection(self, reason: BaseException) -> None:
        """Give up the present connection, and open another one after a pause."""
        if self._connection is not None and self._on_stopped is None:
            self._discard_connection(reason)

    @property
    def stopping(self) -> bool:
        """Whether it was told to stop."""
        return self._on_stopped is not None

    def guarded(self, callback: Callback) -> None:
        """Run a callback, and log what it raises."""
        try:
            callback()
        except Exception:  # noqa: BLE001  # one bad callback must not take the connection down
            _log.exception("A callback on the AMQP thread failed")

    def _run_soon(self) -> None:
        while self._soon:  # a callback may ask for another one
            callbacks, self._soon = self._soon, []
            for callback in callbacks:
                self.guarded(callback)

    # Connecting

    def connect(self) -> None:
        """Open the connection; from here on it is opened again whenever it is lost."""
        if self._on_stopped is not None:
            return
        self._io = self._new_io()
        try:
            self._connection = pika.SelectConnection(
                self._brokers.next(time.monotonic()),
                on_open_callback=self._on_open,
                on_open_error_callback=self._on_closed,
                on_close_callback=self._on_closed,
                custom_ioloop=self._io.services,
            )
        except Exception as error:  # noqa: BLE001  # no descriptor or thread to be had, say
            self._on_failure(self._io, error)

    def _new_io(self) -> LinkIO:
        return self._compatibility.new_io(self._loop, self._run_soon, self._on_failure)

    def _on_failure(self, io: LinkIO, error: Exception) -> None:
        if io is not self._io or self._on_stopped is not None:
            # pika's goodbye to a connection that was given up before it was open.
            _log.debug("A connection that was given up failed", exc_info=error)
            return
        _log.error("The AMQP connection failed unexpectedly: %r", error)
        self._compatibility.doubt(io, error)
        self._discard_connection(error)

    def _on_open(self, connection: Connection) -> None:
        if connection is not self._connection:
            return
        self._say(logging.INFO, "Connected to the broker")
        self._channel_reasons.clear()
        heartbeat = connection.params.heartbeat  # as it was agreed
        if isinstance(heartbeat, int) and heartbeat:
            self._watch(connection, SilenceWatch(heartbeat))
        connection.add_on_connection_blocked_callback(lambda *_: self._tell_blocked(blocked=True))
        connection.add_on_connection_unblocked_callback(
            lambda *_: self._tell_blocked(blocked=False)
        )
        self.open_channel()

    def _on_closed(self, connection: Connection, reason: BaseException) -> None:
        if connection is not self._connection:
            return  # an earlier one that was discarded
        self._connection = self._channel = None
        self._tell_lost(reason)
        if self._on_stopped is not None:
            self._end()
        else:
            self.call_later(self._pause, self.connect)

    def _watch(self, connection: Connection, watch: SilenceWatch) -> None:
        if connection is not self._connection or not connection.is_open:
            return
        if watch.silent(connection.bytes_received) and self._on_stopped is None:
            self._discard_connection(AMQPHeartbeatTimeout())
        else:
            self.call_later(LOOK_EVERY, lambda: self._watch(connection, watch))

    def _discard_connection(self, reason: BaseException) -> None:
        """Give the connection up after a failure inside pika, and open another one."""
        connection, self._connection, self._channel = self._connection, None, None
        given_up, self._io = self._io, self._new_io()  # the old one is not listened to
        self._tell_lost(reason)
        if connection is not None and not (connection.is_closed or connection.is_closing):
            self.guarded(connection.close)
            self._given_up.add(given_up)
            self.call_later(GOODBYE_TIME, lambda: self._cut_off(given_up))
        self.call_later(self._pause, self.connect)

    def _cut_off(self, given_up: LinkIO) -> None:
        """End a connection whose broker may have said nothing to our goodbye."""
        self._given_up.discard(given_up)
        given_up.abort()

    def _take_steady(self) -> bool:
        """Tell, once, whether the last channel lasted."""
        since, self._ready_since = self._ready_since, None
        return since is not None and time.monotonic() - since >= _STEADY_AFTER

    # The channel

    def open_channel(self) -> None:
        """Hand a channel to the handler, which closes the present one if there is one."""
        connection = self._connection
        if connection is not None and connection.is_open and self._on_stopped is None:
            try:
                connection.channel(on_open_callback=self._on_channel_open)
            except AMQPError:  # no number is free until the broker confirms that one is
                if self._channel is None:
                    self._reopen_channel_later()

    def _on_channel_open(self, channel: Channel) -> None:
        usable = self.message_channel(channel)
        channel.add_on_close_callback(self._on_channel_closed)
        self._channel = channel
        self._last_reason = None
        self._ready_since = time.monotonic()
        if (moved := self._brokers.serves(self._ready_since)) is not None:
            self._say(logging.WARNING, "Using the broker at %s from now on: %s", *moved)
        self.guarded(lambda: self._handler.on_ready(usable))

    def _on_channel_closed(self, channel: Channel, reason: BaseException) -> None:
        if channel is not self._channel:
            return
        self._channel = None
        connection = self._connection
        if connection is not None and connection.is_open:  # else `_on_closed` speaks
            self._tell_channel_lost(reason)
            self._reopen_channel_later()

    def _reopen_channel_later(self) -> None:
        if self._take_steady():
            self._backoff.reset()
        self.call_later(self._backoff.next_delay(), self.open_channel)

    def _tell_lost(self, reason: BaseException) -> None:
        if self._on_stopped is None:
            now, steady = time.monotonic(), self._take_steady()
            words, self._pause = self._brokers.failed(describe(reason), now, steady=steady)
            # A broker that is away for long is one line, not one for each attempt, and none where
            # another one is used instead: that is told then.
            told = words == self._last_reason or not self._pause
            level = logging.DEBUG if told else logging.WARNING
            self._say(level, "No connection to the broker: %s; trying again", words)
            self._last_reason = words
        self.guarded(lambda: self._handler.on_lost(reason))

    def _tell_channel_lost(self, reason: BaseException) -> None:
        words = describe(reason)
        level = logging.DEBUG if words in self._channel_reasons else logging.INFO
        self._say(level, "The broker closed the channel: %s; opening another", words)
        self._channel_reasons.add(words)
        self.guarded(lambda: self._handler.on_lost(reason))

    def _say(self, level: int, message: str, *words: str) -> None:
        _log.log(min(level, self._loudest), message, *words)

    def _tell_blocked(self, *, blocked: bool) -> None:
        if blocked:
            _log.warning("The broker blocks publishers: it is short of memory or disk space")
        self.guarded(lambda: self._handler.on_blocked(blocked=blocked))

    # Stopping

    def begin_stop(self, on_stopped: Callback, within: float = GOODBYE_TIME) -> None:
        """Flush, close, then call `on_stopped`: after `within` seconds also without the broker."""
        if self._on_stopped is not None:
            return
        self._on_stopped = on_stopped
        if self._aside:
            self._handler = _Nobody()
        connection = self._connection
        if connection is None and not self._given_up:
            self._end()
        elif connection is not None and (connection.is_open or connection.is_closing):
            if not connection.is_closing:
                # What was written before the close is sent before it: AMQP keeps the order.
                self.guarded(connection.close)
            self._last_timer = self.call_later(within, self._end_without_the_broker)
        else:
            # pika reports to nobody that it gives up one that is being opened, over some turns.
            self._connection = None
            if connection is not None:
                self.guarded(connection.close)
            self._last_timer = self.call_later(_GIVE_UP_TIME, self._end)
        for given_up in tuple(self._given_up):
            self._cut_off(given_up)

    def _end_without_the_broker(self) -> None:
        self._last_timer = self.call_later(_GIVE_UP_TIME, self._end)
        self._io.abort()  # `_on_closed` hears of it, unless the streams are pika's own

    def _end(self) -> None:
        """Tell the owner that it is over, once."""
        if self._last_timer is not None:
            self._last_timer.cancel()
        on_stopped, self._on_stopped = self._on_stopped, nothing
        if on_stopped is not None:
            on_stopped()
