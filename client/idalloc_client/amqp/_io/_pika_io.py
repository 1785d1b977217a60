"""pika as it comes, for a release of it that our own streams do not fit."""

from collections.abc import Callable
from typing import Any

from pika.channel import Channel

from idalloc_client.amqp._io._channel import PikaWire, Wire
from idalloc_client.amqp._io._guarded_loop import Callback, GuardedLoop, SelectorLoop
from idalloc_client.amqp._io._write_batch import Turn


class PlainPika:
    """Stands in for `JoinedIO`; it uses the loop that pika is given, and nothing of pika's inside.

    `on_failure` is given what a callback of pika raises.
    """

    def __init__(
        self, loop: SelectorLoop, on_failure: Callable[["PlainPika", Exception], None]
    ) -> None:
        self._loop = GuardedLoop(loop, lambda error: on_failure(self, error))
        self.turn = Turn()

    @property
    def services(self) -> Any:
        """What pika is to be given."""
        return self._loop

    def wire(self, channel: Channel) -> Wire:
        """Use a channel."""
        return PikaWire(channel)

    def add_callback_threadsafe(self, callback: Callback) -> None:
        """Run a callback soon; from any thread."""
        self._loop.add_callback(callback)

    def call_later(self, delay: float, callback: Callback) -> "_Timer":
        """Run a callback after `delay` seconds."""
        return _Timer(self._loop, self._loop.call_later(delay, callback))


class _Timer:
    """Can be cancelled once or often."""

    def __init__(self, loop: GuardedLoop, handle: Any) -> None:
        self._loop: GuardedLoop | None = loop
        self._handle = handle

    def cancel(self) -> None:
        """Forget the callback."""
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.remove_timeout(self._handle)
