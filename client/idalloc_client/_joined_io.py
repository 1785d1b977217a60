"""Joins what one turn of the I/O loop writes into one system call, below pika.

pika hands each frame to the socket by itself: three calls for a publish, one for an
acknowledgement. Joined, a request costs worker and broker about two thirds of the CPU time, and
two cores serve half as many more (64 callers of one worker, side by side).

This sits where pika's documented I/O interface (`pika.adapters.utils.nbio_interface`) lets a user
plug in, uses nothing else of it, and leaves connecting, TLS, reading and errors to pika's own.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pika.adapters.utils.nbio_interface import AbstractStreamProtocol, AbstractStreamTransport
from pika.adapters.utils.selector_ioloop_adapter import (
    AbstractSelectorIOLoop,
    SelectorIOServicesAdapter,
)

from idalloc_client._guarded_loop import GuardedLoop


class JoinedIO(SelectorIOServicesAdapter):
    """I/O services for `pika.SelectConnection(custom_ioloop=...)`: one thread, one connection.

    `after_read` is called after each read from the socket, with all its frames handled: what it
    writes leaves together with what their handlers wrote. `on_failure` is given what a callback of
    pika raises.
    """

    def __init__(
        self,
        loop: AbstractSelectorIOLoop,
        after_read: Callable[[], None],
        on_failure: Callable[["JoinedIO", Exception], None],
    ) -> None:
        super().__init__(GuardedLoop(loop, lambda error: on_failure(self, error)))
        self._after_read = after_read
        self._protocol: _JoiningProtocol | None = None
        self.holding = False
        """Whether writes are kept back just now."""

    @contextmanager
    def one_write(self) -> Iterator[None]:
        """Join what is written inside, whatever it is."""
        self.holding = True
        try:
            yield
        finally:
            self.holding = False
            if self._protocol is not None and self._protocol.transport is not None:
                self._protocol.transport.flush()

    def create_streaming_connection(
        self, protocol_factory: Callable[[], AbstractStreamProtocol], *args: Any, **kwargs: Any
    ) -> Any:
        """Set up a connection as pika does, with a joining transport below its protocol."""

        def joined() -> AbstractStreamProtocol:
            self._protocol = _JoiningProtocol(protocol_factory(), self, self._after_read)
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
        return super().create_streaming_connection(joined, *args, **kwargs)


class _JoiningProtocol(AbstractStreamProtocol):
    """Stands between pika's transport, which reads, and pika's connection."""

    def __init__(
        self, inner: AbstractStreamProtocol, io: JoinedIO, after_read: Callable[[], None]
    ) -> None:
        self.inner = inner
        self._io = io
        self._after_read = after_read
        self.transport: _JoiningTransport | None = None

    def connection_made(self, transport: AbstractStreamTransport) -> None:
        self.transport = _JoiningTransport(transport, self.inner, self._io)
        self.inner.connection_made(self.transport)

    def connection_lost(self, error: BaseException | None) -> None:
        self.inner.connection_lost(error)

    def eof_received(self) -> Any:
        return self.inner.eof_received()

    def data_received(self, data: bytes) -> None:
        with self._io.one_write():
            self.inner.data_received(data)
            self._after_read()


class _JoiningTransport(AbstractStreamTransport):
    """Collects writes until the turn is over."""

    def __init__(
        self, inner: AbstractStreamTransport, protocol: AbstractStreamProtocol, io: JoinedIO
    ) -> None:
        self._inner = inner
        self._protocol = protocol
        self._io = io
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
            self._inner.write(data)
