"""pika as it comes, for a release of it that our own streams do not work with."""

from collections.abc import Callable
from typing import Any

from pika.channel import Channel

from idalloc_client.amqp._io._channel import MessageChannel, PikaChannel
from idalloc_client.amqp._io._guarded_loop import Callback, GuardedLoop, SelectorLoop
from idalloc_client.amqp._io._write_batch import WriteBatch


class PikaIO:
    """Stands in for `BatchedIO`; it uses the loop that pika is given, and nothing of pika's inside.

    `on_failure` is given what a callback of pika raises.
    """

    def __init__(
        self, loop: SelectorLoop, on_failure: Callable[["PikaIO", Exception], None]
    ) -> None:
        self._loop = GuardedLoop(loop, lambda error: on_failure(self, error))
        self.write_batch = WriteBatch()

    @property
    def services(self) -> Any:
        """What pika is to be given."""
        return self._loop

    def message_channel(self, channel: Channel) -> MessageChannel:
        return PikaChannel(channel)

    def add_callback_threadsafe(self, callback: Callback) -> None:
        """Run a callback soon; from any thread."""
        self._loop.add_callback(callback)

    def call_later(self, delay: float, callback: Callback) -> "_Timer":
        """Run a callback after `delay` seconds."""
        return _Timer(self._loop, self._loop.call_later(delay, callback))

    def abort(self) -> None:
        """Do nothing: pika shows nobody its stream, and its heartbeat ends what is silent."""


class _Timer:
    """Can be cancelled once or often."""

    def __init__(self, loop: GuardedLoop, handle: Any) -> None:
        self._loop: GuardedLoop | None = loop
        self._handle = handle

    def cancel(self) -> None:
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.remove_timeout(self._handle)
