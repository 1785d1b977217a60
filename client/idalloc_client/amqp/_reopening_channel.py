"""A further channel of a connection, which is opened again whenever it was closed."""

import contextlib
from collections.abc import Callable

from pika.channel import Channel
from pika.connection import Connection
from pika.exceptions import AMQPError

from idalloc_client.amqp._io import Callback


class ReopeningChannel:
    """Owned by the link's thread; from `connect` to `disconnect` it has one channel at a time.

    Args:
        call_later: runs a callback after some seconds.
        on_open: takes each fresh channel.
        on_unopened: hears why none could be asked for, and returns when to try again.
        on_closed: hears why one ended that was not given up here, and returns when another one is
            to follow: in how many seconds, or None.
        on_cancelled: hears that the broker cancelled a consumer; else the channel is closed then.
    """

    def __init__(
        self,
        call_later: Callable[[float, Callback], object],
        *,
        on_open: Callable[[Channel], None],
        on_unopened: Callable[[AMQPError], float],
        on_closed: Callable[[BaseException], float | None],
        on_cancelled: Callback | None = None,
    ) -> None:
        self._call_later = call_later
        self._user_on_open = on_open
        self._user_on_unopened = on_unopened
        self._user_on_closed = on_closed
        self._user_on_cancelled = on_cancelled or self.close
        self.connection: Connection | None = None
        """The one that it was given; None: no other channel is to follow."""
        self.channel: Channel | None = None
        """The present one, from when it is open until its end is known."""

    @property
    def connected(self) -> bool:
        """Whether another channel can follow."""
        return self.connection is not None and bool(self.connection.is_open)

    def connect(self, connection: Connection) -> None:
        """Open a channel on a fresh connection."""
        self.connection = connection
        self._open(connection)

    def disconnect(self) -> bool:
        """Forget a connection that is lost, or will be given anew; True if it had a channel."""
        self.connection = None
        return self.drop()

    def drop(self) -> bool:
        """Close the channel without hearing of its end; True if there was one."""
        channel, self.channel = self.channel, None
        if channel is not None and channel.is_open:
            with contextlib.suppress(AMQPError):  # the connection may be going too
                channel.close()
        return channel is not None

    def close(self) -> None:
        """Give the channel up for another one; `on_closed` follows."""
        if self.channel is not None and self.channel.is_open:
            self.channel.close()

    def open_later(self, delay: float) -> None:
        """Open a channel after a pause, if the connection is the same then."""
        connection = self.connection
        if connection is not None:
            self._call_later(delay, lambda: self._open(connection))

    def _open(self, connection: Connection) -> None:
        if connection is not self.connection or self.channel is not None or not self.connected:
            return
        try:
            connection.channel(on_open_callback=self._on_open)
        except AMQPError as error:  # no number is free until the broker confirms that one is
            self.open_later(self._user_on_unopened(error))

    def _on_open(self, channel: Channel) -> None:
        if channel.connection is not self.connection or self.channel is not None:
            channel.close()  # asked for before the connection was given anew
            return
        self.channel = channel
        channel.add_on_close_callback(self._on_closed)
        channel.add_on_cancel_callback(lambda _frame: self._on_cancelled(channel))
        self._user_on_open(channel)

    def _on_cancelled(self, channel: Channel) -> None:
        if channel is self.channel and channel.is_open:
            self._user_on_cancelled()

    def _on_closed(self, channel: Channel, reason: BaseException) -> None:
        if channel is self.channel:
            self.channel = None
            delay = self._user_on_closed(reason)
            if delay is not None:
                self.open_later(delay)
