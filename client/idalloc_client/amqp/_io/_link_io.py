"""Chooses how a link talks to the socket: our own streams where they work with pika, else pika's.

Our streams plug into pika's documented I/O interface, but that is no promise for every release to
come. So each process tries them once, before its first connection; and a failure inside a
connection that looks like a changed interface makes the next connection one of pika's own.
"""

import logging
from collections.abc import Callable
from typing import Any, Protocol

import pika
from pika.channel import Channel

from idalloc_client.amqp._io._channel import MessageChannel
from idalloc_client.amqp._io._guarded_loop import Callback, SelectorLoop
from idalloc_client.amqp._io._pika_io import PikaIO
from idalloc_client.amqp._io._write_batch import WriteBatch

_log = logging.getLogger("idalloc.link")

_CHANGED = (AssertionError, AttributeError, ImportError, NotImplementedError, TypeError)
"""What a changed interface raises; all else has other causes, such as a lack of descriptors."""


class LinkIO(Protocol):
    """What a link needs of either."""

    write_batch: WriteBatch

    @property
    def services(self) -> Any:
        """What pika is to be given as its loop."""

    def message_channel(self, channel: Channel) -> MessageChannel: ...

    def add_callback_threadsafe(self, callback: Callback) -> Any: ...

    def call_later(self, delay: float, callback: Callback) -> Any: ...

    def abort(self) -> None: ...


class Compatibility:
    """Knows whether our streams work with the pika that is here; for a process, or for a test."""

    def __init__(self) -> None:
        self._compatible: bool | None = None

    def new_io(
        self,
        loop: SelectorLoop,
        after_read: Callback,
        on_failure: Callable[[LinkIO, Exception], None],
    ) -> LinkIO:
        """Make the I/O of one connection.

        `after_read` is called after each read from the socket where there is one to batch
        writes for; `on_failure` is given what a callback of pika raises.
        """
        if self._compatible is None:
            self._check()
        if self._compatible is False:
            return PikaIO(loop, on_failure)
        from idalloc_client.amqp._io._batched_io import BatchedIO  # noqa: PLC0415  # it may not load

        return BatchedIO(loop, after_read, on_failure, self.doubt)

    def doubt(self, io: LinkIO, error: BaseException) -> None:
        """Note a failure inside a connection, which may be because pika has changed."""
        if (
            isinstance(error, _CHANGED)
            and not isinstance(io, PikaIO)
            and self._compatible is not False
        ):
            self._give_up(error)

    def _check(self) -> None:
        try:
            from idalloc_client.amqp._io._compatibility import check_compatibility  # noqa: PLC0415  # it may not load

            check_compatibility()
            self._compatible = True
        except OSError as error:  # a lack of descriptors, say: that tells nothing about pika
            _log.debug("The compatibility check is put off: %r", error)
        except Exception as error:  # noqa: BLE001  # whatever it is, it would be so each time
            self._give_up(error)

    def _give_up(self, error: BaseException) -> None:
        self._compatible = False
        _log.warning(
            "pika %s differs from those that idalloc knows (%s: %s): going on with pika's own "
            "I/O, which costs more CPU time. Please report it",
            pika.__version__,
            type(error).__name__,
            error,
        )


THIS_PROCESS = Compatibility()
"""Shared by all links."""
