"""Interrupts a loop that waits for its descriptors."""

import contextlib
import socket

from idalloc_client.amqp._io._guarded_loop import Callback, SelectorLoop

_WAKE_BYTES = 4096


class Waker:
    """Has two descriptors. No lock is taken, so a signal handler may wake a loop as well."""

    def __init__(self, loop: SelectorLoop, on_wake: Callback) -> None:
        self._loop = loop
        self._on_wake = on_wake
        self._receiver, self._sender = socket.socketpair()
        self._receiver.settimeout(0)
        self._sender.settimeout(0)
        loop.add_handler(self._receiver.fileno(), self._on_readable, loop.READ)

    def wake(self) -> None:
        """Have `on_wake` called on the loop; from any thread."""
        with contextlib.suppress(OSError):  # full: it will wake; closed: there is nobody to wake
            self._sender.send(b"\0")

    def close(self) -> None:
        """Give the sockets back, on the loop's thread or after its end."""
        self._loop.remove_handler(self._receiver.fileno())
        self._receiver.close()
        self._sender.close()

    def _on_readable(self, _fd: int, _events: int) -> None:
        with contextlib.suppress(BlockingIOError):
            self._receiver.recv(_WAKE_BYTES)
        self._on_wake()
