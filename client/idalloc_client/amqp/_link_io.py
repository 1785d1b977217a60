"""Chooses how a link talks to the socket: our own streams where they fit pika, else pika's.

Our streams plug into pika's documented I/O interface, but that is no promise for every release to
come. So each process rehearses once, before its first connection; and a failure inside a connection
that looks like a misfit makes the next connection one of pika's own.
"""

import logging
from collections.abc import Callable
from typing import Any, Protocol

import pika
from pika.channel import Channel

from idalloc_client.amqp._io import Callback, PlainPika, SelectorLoop, Turn, Wire

_log = logging.getLogger("idalloc.link")

_MISFITS = (AssertionError, AttributeError, ImportError, NotImplementedError, TypeError)
"""What a changed interface raises; all else has other causes, such as a lack of descriptors."""


class LinkIO(Protocol):
    """What a link needs of either."""

    turn: Turn

    @property
    def services(self) -> Any:
        """What pika is to be given as its loop."""

    def wire(self, channel: Channel) -> Wire:
        """Use a channel of the present connection."""

    def add_callback_threadsafe(self, callback: Callback) -> Any:
        """Run a callback soon; from any thread."""

    def call_later(self, delay: float, callback: Callback) -> Any:
        """Run a callback after `delay` seconds."""


class PikaFit:
    """Knows whether our streams fit the pika that is installed; for a process, or for a test."""

    def __init__(self) -> None:
        self._fits: bool | None = None

    def new_io(
        self,
        loop: SelectorLoop,
        after_read: Callback,
        on_failure: Callable[[LinkIO, Exception], None],
    ) -> LinkIO:
        """Make the I/O of one connection.

        `after_read` is called after each read from the socket where there is one to join writes
        for; `on_failure` is given what a callback of pika raises.
        """
        if self._fits is None:
            self._rehearse()
        if self._fits is False:
            return PlainPika(loop, on_failure)
        from idalloc_client.amqp._io import JoinedIO  # noqa: PLC0415  # it may not fit

        return JoinedIO(loop, after_read, on_failure, self.doubt)

    def doubt(self, io: LinkIO, error: BaseException) -> None:
        """Note a failure inside a connection, which may be because our streams do not fit."""
        if (
            isinstance(error, _MISFITS)
            and not isinstance(io, PlainPika)
            and self._fits is not False
        ):
            self._give_up(error)

    def _rehearse(self) -> None:
        try:
            from idalloc_client.amqp._compatibility import rehearse  # noqa: PLC0415  # it may not fit

            rehearse()
            self._fits = True
        except OSError as error:  # a lack of descriptors, say: that tells nothing about pika
            _log.debug("The rehearsal is put off: %r", error)
        except Exception as error:  # noqa: BLE001  # whatever it is, it would be so each time
            self._give_up(error)

    def _give_up(self, error: BaseException) -> None:
        self._fits = False
        _log.warning(
            "pika %s differs from those that idalloc knows (%s: %s): going on with pika's own "
            "I/O, which costs more CPU time. Please report it",
            pika.__version__,
            type(error).__name__,
            error,
        )


THIS_PROCESS = PikaFit()
"""Shared by all links."""
