"""pika's I/O services with streams that batch writes, and a reader of deliveries below pika.

This sits where pika's documented I/O interface (`pika.adapters.utils.nbio_interface`) lets a user
plug in, and leaves connecting, TLS and the protocol to pika's own.
"""

import contextlib
import socket
from collections.abc import Callable
from typing import Any

from pika.adapters.utils.nbio_interface import (
    AbstractIOReference,
    AbstractStreamProtocol,
    AbstractStreamTransport,
)
from pika.adapters.utils.selector_ioloop_adapter import SelectorIOServicesAdapter
from pika.channel import Channel

from idalloc_client.amqp._io._asyncio_loop import AsyncioSelectorLoop
from idalloc_client.amqp._io._batched_stream import BatchedStream, TcpStream, TlsStream
from idalloc_client.amqp._io._channel import FastChannel, MessageChannel
from idalloc_client.amqp._io._delivery_reader import ConsumerError, DeliveryReader
from idalloc_client.amqp._io._guarded_loop import Callback, GuardedLoop, SelectorLoop
from idalloc_client.amqp._io._write_batch import WriteBatch

_Done = Callable[[Any], None]
_ProtocolFactory = Callable[[], AbstractStreamProtocol]


class BatchedIO(SelectorIOServicesAdapter):
    """I/O services for `pika.SelectConnection(custom_ioloop=...)`: one thread, one connection.

    `after_read` is called after each read from the socket, with all its frames handled: what it
    writes leaves together with what their handlers wrote. `on_failure` is given what a callback of
    pika raises; what handling data raises closes the connection, and `on_doubt` is told before.
    """

    def __init__(
        self,
        loop: SelectorLoop,
        after_read: Callback,
        on_failure: Callable[["BatchedIO", Exception], None],
        on_doubt: Callable[["BatchedIO", Exception], None],
    ) -> None:
        # "Compatible with the interface, but not necessarily derived from it", as pika says.
        guarded: Any = GuardedLoop(loop, lambda error: on_failure(self, error))
        super().__init__(guarded)
        self.write_batch = WriteBatch()
        self.tells_once = isinstance(loop, AsyncioSelectorLoop)  # it may be that of uvloop
        self._after_read = after_read
        self._on_doubt = on_doubt
        self._protocol: _BatchingProtocol | None = None

    @property
    def services(self) -> Any:
        """What pika is to be given."""
        return self

    def message_channel(self, channel: Channel) -> MessageChannel:
        """Use a channel of the present connection."""
        if self._protocol is None or self._protocol.stream is None:
            raise RuntimeError("there is no connection")
        connection = channel.connection
        # pika would take a connection for dead on which it sees nothing.
        connection.bytes_received += 0  # raises here and now if pika counts no more
        self._protocol.counts_for = connection
        return FastChannel(channel, self._protocol.stream.write, self._protocol.reader)

    def abort(self) -> None:
        """Close the connection, if there is one, without a word to the broker."""
        if self._protocol is not None and self._protocol.stream is not None:
            self._protocol.stream.abort()

    def take_in(self, protocol: "_BatchingProtocol", data: bytes) -> None:
        """Handle what was read, and send what that makes to be sent in one piece."""
        try:
            with self.write_batch:
                try:
                    protocol.reader.feed(data)
                finally:  # what was answered is acknowledged, too
                    self._after_read()
        except ConsumerError as error:
            raise error.cause from None  # to the stream, which closes the connection
        except Exception as error:
            self._on_doubt(self, error)
            raise

    def create_streaming_connection(
        self,
        protocol_factory: _ProtocolFactory,
        sock: socket.socket,
        on_done: _Done,
        ssl_context: Any = None,
        server_hostname: str | None = None,
    ) -> AbstractIOReference:
        """Set up a connection as the interface says, with a batching stream below its protocol."""

        def batching() -> _BatchingProtocol:
            self._protocol = _BatchingProtocol(protocol_factory(), self)
            return self._protocol

        if ssl_context is None:
            connect = _TcpConnect(self, batching, sock, on_done)
            self.add_callback_threadsafe(connect.run)  # type: ignore[no-untyped-call]
            return connect
        reference: AbstractIOReference = super().create_streaming_connection(
            batching, sock, _unwrapped(on_done), ssl_context, server_hostname
        )
        return reference


def _unwrapped(on_done: _Done) -> _Done:
    """Tell pika of the stream and the protocol that it is to use, not of those below."""

    def done(result: Any) -> None:
        if isinstance(result, tuple):
            _inner, protocol = result
            result = (protocol.stream, protocol.inner)
        on_done(result)

    return done


class _BatchingProtocol(AbstractStreamProtocol):
    """Stands between a stream and pika's connection, which sees only what is left to it."""

    def __init__(self, inner: AbstractStreamProtocol, io: BatchedIO) -> None:
        self.inner = inner
        self.stream: BatchedStream | None = None
        self.reader = DeliveryReader(inner.data_received)
        self.counts_for: Any = None
        """The connection that is to know of all bytes, once it is open."""
        self._io = io

    def connection_made(self, transport: AbstractStreamTransport) -> None:
        """Take the stream, of TLS with one above it that batches."""
        if isinstance(transport, BatchedStream):
            self.stream = transport
        else:
            self.stream = TlsStream(self._io, transport, self.inner, self._io.write_batch)
        self.inner.connection_made(self.stream)

    def connection_lost(self, error: BaseException | None) -> None:
        if self.stream is not None:
            self.stream.forget()
            self.stream = None
        self.inner.connection_lost(error)

    def eof_received(self) -> Any:
        return self.inner.eof_received()

    def data_received(self, data: bytes) -> None:
        """Handle what is ours, and pass the rest on.

        Each byte counts as it comes: pika counts what it sees, whole frames.
        """
        connection = self.counts_for
        before = 0 if connection is None else connection.bytes_received
        self._io.take_in(self, data)
        if connection is not None:
            connection.bytes_received = before + len(data)


class _TcpConnect(AbstractIOReference):
    """Connects socket, stream and protocol in a turn of its own; it can be cancelled till then."""

    def __init__(
        self,
        io: BatchedIO,
        protocol_factory: Callable[[], _BatchingProtocol],
        sock: socket.socket,
        on_done: _Done,
    ) -> None:
        self._io = io
        self._protocol_factory = protocol_factory
        self._socket: socket.socket | None = sock
        self._on_done = on_done

    def cancel(self) -> bool:
        """Close the socket, and do not call back. False if that is too late."""
        sock, self._socket = self._socket, None
        if sock is not None:
            sock.close()
        return sock is not None

    def run(self) -> None:
        sock, self._socket = self._socket, None
        if sock is None:
            return
        stream = None
        try:
            protocol = self._protocol_factory()
            stream = TcpStream(
                *(self._io, sock, protocol, self._io.write_batch), tells_once=self._io.tells_once
            )
            protocol.connection_made(stream)
        except Exception as error:  # noqa: BLE001  # told as the interface says
            with contextlib.suppress(OSError):
                if stream is not None:
                    self._io.remove_reader(sock.fileno())
                sock.close()
            self._on_done(error)
        else:
            self._on_done((stream, protocol.inner))
