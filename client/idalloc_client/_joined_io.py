"""Joins what one turn of the I/O loop writes into one system call, below pika.

pika hands each frame to the socket by itself: three calls for a publish, one for an
acknowledgement. Joined, a request costs worker and broker about two thirds of the CPU time, and
two cores serve half as many more (64 callers of one worker, side by side). pika also waits for the
loop to say that the socket can be written to; here what there is is tried at once, and only what
the socket does not take waits (without TLS, whose socket is not ours to use).

This sits where pika's documented I/O interface (`pika.adapters.utils.nbio_interface`) lets a user
plug in, uses nothing else of it, and leaves connecting, TLS, reading and errors to pika's own.
"""

import socket
from collections.abc import Callable
from typing import Any

from pika.adapters.utils.nbio_interface import AbstractStreamProtocol, AbstractStreamTransport
from pika.adapters.utils.selector_ioloop_adapter import (
    AbstractSelectorIOLoop,
    SelectorIOServicesAdapter,
)

from idalloc_client._guarded_loop import GuardedLoop
from idalloc_client._shortcut import Shortcut


class JoinedIO(SelectorIOServicesAdapter):
    """I/O services for `pika.SelectConnection(custom_ioloop=...)`: one thread, one connection.

    `after_read` is called after each read from the socket, with all its frames handled: what it
    writes leaves together with what their handlers wrote. `on_taken` is told how many bytes were
    read that pika did not see. `on_failure` is given what a callback of pika raises.
    """

    def __init__(
        self,
        loop: AbstractSelectorIOLoop,
        after_read: Callable[[], None],
        on_taken: Callable[[int], None],
        on_failure: Callable[["JoinedIO", Exception], None],
    ) -> None:
        super().__init__(GuardedLoop(loop, lambda error: on_failure(self, error)))
        self._after_read = after_read
        self._on_taken = on_taken
        self._protocol: _JoiningProtocol | None = None
        self.holding = False
        """Whether writes are kept back just now."""
        self._one_write = _OneWrite(self)

    @property
    def shortcut(self) -> Shortcut:
        """What takes deliveries out of the stream, once there is a connection."""
        return self._connected.shortcut

    def write(self, data: bytes) -> None:
        """Write whole frames; once the connection is lost they are dropped."""
        if self._protocol is not None and self._protocol.transport is not None:
            self._protocol.transport.write(data)

    def take_in(self, data: bytes) -> None:
        """Handle what was read, and send what that makes to be sent in one piece."""
        shortcut = self._connected.shortcut
        with self.one_write():
            shortcut.feed(data)
            self._after_read()
        if shortcut.taken:
            self._on_taken(shortcut.taken)
            shortcut.taken = 0

    @property
    def _connected(self) -> "_JoiningProtocol":
        if self._protocol is None:
            raise RuntimeError("there is no connection yet")
        return self._protocol

    def one_write(self) -> "_OneWrite":
        """Join what is written inside, whatever it is."""
        return self._one_write

    def flush(self) -> None:
        """Write what was collected."""
        if self._protocol is not None and self._protocol.transport is not None:
            self._protocol.transport.flush()

    def create_streaming_connection(
        self,
        protocol_factory: Callable[[], AbstractStreamProtocol],
        sock: socket.socket,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """Set up a connection as pika does, with a joining transport below its protocol."""
        plain = sock if kwargs.get("ssl_context") is None and not args[1:] else None

        def joined() -> AbstractStreamProtocol:
            self._protocol = _JoiningProtocol(protocol_factory(), self, plain)
            return self._protocol

        # pika asks for the protocol that it gave, so that is what it gets back.
        def unwrapped(on_done: Callable[[Any], None]) -> Callable[[Any], None]:
            def done(result: Any) -> None:
                if isinstance(result, tuple):
                    _transport, protocol = result
                    result = (protocol.transport, protocol.inner)
                on_done(result)

            return done

        kwargs["on_done"] = unwrapped(kwargs["on_done"])
        return super().create_streaming_connection(joined, sock, *args, **kwargs)


class _OneWrite:
    """A context for every turn; a generator would be made anew each time."""

    def __init__(self, io: JoinedIO) -> None:
        self._io = io

    def __enter__(self) -> None:
        self._io.holding = True

    def __exit__(self, *_: object) -> None:
        self._io.holding = False
        self._io.flush()


class _JoiningProtocol(AbstractStreamProtocol):
    """Stands between pika's transport, which reads, and pika's connection."""

    def __init__(
        self,
        inner: AbstractStreamProtocol,
        io: JoinedIO,
        plain: socket.socket | None,
    ) -> None:
        self.inner = inner
        self.shortcut = Shortcut(inner.data_received)
        self._io = io
        self._plain = plain
        self.transport: _JoiningTransport | None = None

    def connection_made(self, transport: AbstractStreamTransport) -> None:
        self.transport = _JoiningTransport(transport, self.inner, self._io, self._plain)
        self.inner.connection_made(self.transport)

    def connection_lost(self, error: BaseException | None) -> None:
        self.inner.connection_lost(error)

    def eof_received(self) -> Any:
        return self.inner.eof_received()

    def data_received(self, data: bytes) -> None:
        self._io.take_in(data)


class _JoiningTransport(AbstractStreamTransport):
    """Collects writes until the turn is over."""

    def __init__(
        self,
        inner: AbstractStreamTransport,
        protocol: AbstractStreamProtocol,
        io: JoinedIO,
        plain: socket.socket | None,
    ) -> None:
        self._inner = inner
        self._protocol = protocol
        self._io = io
        self._plain = plain
        self._pieces: list[bytes] = []
        self._size = 0

    def write(self, data: bytes) -> None:
        if not self._pieces and not self._io.holding:
            self._io.add_callback_threadsafe(self.flush)  # type: ignore[no-untyped-call]
        self._pieces.append(data)
        self._size += len(data)

    def abort(self) -> None:
        self._pieces.clear()
        self._size = 0
        self._inner.abort()

    def get_protocol(self) -> AbstractStreamProtocol:
        return self._protocol

    def get_write_buffer_size(self) -> int:
        return self._size + int(self._inner.get_write_buffer_size())

    def flush(self) -> None:
        """Write what was collected, unless more is to come."""
        if self._pieces and not self._io.holding:
            data = b"".join(self._pieces)
            self._pieces.clear()
            self._size = 0
            sent = self._try_at_once(data)
            if sent < len(data):
                self._inner.write(data[sent:])

    def _try_at_once(self, data: bytes) -> int:
        """Write as much as the socket takes, unless other data is before it in the queue."""
        if self._plain is None or self._inner.get_write_buffer_size():
            return 0
        try:
            return self._plain.send(data)
        except OSError:  # it is full, or broken: pika meets the same error, and handles it
            return 0
