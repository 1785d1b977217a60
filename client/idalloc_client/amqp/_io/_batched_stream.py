"""Streams for pika that read much at once and write once in a turn of the loop.

pika's own stream (1.4) reads 4096 bytes at a time until the socket has no more, hands each frame to
the socket by itself (three calls for a publish, one for an acknowledgement), and waits for the loop
to say that the socket can be written to. `TcpStream` takes all that is there in one call, sends
what is written in one turn of the loop in one piece, and tries the socket at once. Measured:
without that, a request costs a worker twice the CPU time and the broker 1.6 times as much
(`benchmarks/races/single_requests.py`).

The classes implement the documented `AbstractStreamTransport` of
`pika.adapters.utils.nbio_interface`, and need only what is documented there.
"""

import contextlib
import logging
import os
import socket
from collections import deque
from typing import Any

from pika.adapters.utils.nbio_interface import AbstractStreamProtocol, AbstractStreamTransport

from idalloc_client.amqp._io._write_batch import WriteBatch

_log = logging.getLogger("idalloc.stream")

_READ_SIZE = 65_536  # bytes: a few hundred messages
_NOT_NOW = (BlockingIOError, InterruptedError)


class BatchedStream(AbstractStreamTransport):
    """Collects what is written in one turn of the loop. Subclasses send it.

    Args:
        services: pika's I/O services, to watch descriptors and to call back.
        protocol: what is told about the stream.
        batch: for as long as it lasts nothing is sent.
    """

    def __init__(self, services: Any, protocol: AbstractStreamProtocol, batch: WriteBatch) -> None:
        self._services = services
        self._protocol = protocol
        self._batch = batch
        self._pieces: list[bytes] = []
        self._size = 0
        self._open = True
        batch.at_end = self.flush

    def get_protocol(self) -> AbstractStreamProtocol:
        return self._protocol

    def get_write_buffer_size(self) -> int:
        """Tell how many bytes have not been sent."""
        return self._size

    def write(self, data: bytes) -> None:
        """Send at the end of this turn; dropped once the connection is lost."""
        if self._open:
            if not self._pieces and not self._batch.holding:
                self._services.add_callback_threadsafe(self.flush)
            self._pieces.append(data)
            self._size += len(data)

    def flush(self) -> None:
        """Send what was collected, unless the batch lasts."""
        if self._pieces and not self._batch.holding:
            data = b"".join(self._pieces)
            self._pieces.clear()
            self._size = 0
            self._send(data)

    def forget(self) -> None:
        """Drop what was not sent, and what will be written."""
        self._open = False
        self._pieces.clear()
        self._size = 0

    def _send(self, data: bytes) -> None:
        raise NotImplementedError


class TlsStream(BatchedStream):
    """Batches writes above pika's own stream, which knows TLS."""

    def __init__(
        self,
        services: Any,
        inner: AbstractStreamTransport,
        protocol: AbstractStreamProtocol,
        batch: WriteBatch,
    ) -> None:
        super().__init__(services, protocol, batch)
        self._inner = inner

    def get_write_buffer_size(self) -> int:
        """Tell how many bytes have not been sent."""
        return self._size + int(self._inner.get_write_buffer_size())

    def abort(self) -> None:
        """Close the connection; what was not sent is dropped."""
        self.forget()
        self._inner.abort()

    def _send(self, data: bytes) -> None:
        self._inner.write(data)


class TcpStream(BatchedStream):
    """Owns a connected, non-blocking socket without TLS, and closes it in the end.

    `tells_once`: whether the loop may say only once that there is data and a reset behind it.
    """

    def __init__(
        self,
        services: Any,
        sock: socket.socket,
        protocol: AbstractStreamProtocol,
        batch: WriteBatch,
        *,
        tells_once: bool = True,
    ) -> None:
        super().__init__(services, protocol, batch)
        self._socket = sock
        self._tells_once = tells_once
        self._unsent: deque[memoryview] = deque()  # what the socket did not take
        self._reason: BaseException | None = None
        services.set_reader(sock.fileno(), self._on_readable)

    def get_write_buffer_size(self) -> int:
        """Tell how many bytes have not been sent."""
        return self._size + sum(map(len, self._unsent))

    def abort(self) -> None:
        """Close the connection; what was not sent is dropped. The protocol is told in a later turn.

        That the user wants it so weighs more than a failure that was not told yet.
        """
        self._reason = None
        self._end()

    def _on_readable(self) -> None:
        if not self._open:
            return
        try:
            data = self._socket.recv(_READ_SIZE)
        except _NOT_NOW:
            return
        except OSError as error:
            self._fail(error)
            return
        try:
            if data:
                self._protocol.data_received(data)
                if self._tells_once:
                    self._look_for_reset()
            elif self._protocol.eof_received():
                self._services.remove_reader(self._socket.fileno())
            else:
                self.abort()
        except Exception as error:  # noqa: BLE001  # the protocol is told by closing
            _log.exception("What was received could not be handled; closing the connection")
            self._fail(error)

    def _look_for_reset(self) -> None:
        """Notice a reset that came with the data: uvloop tells of both at once, and then no more.

        To read until nothing is left would tell as well, but a busy peer could keep the thread
        from all else.
        """
        number = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) if self._open else 0
        if number:
            self._fail(OSError(number, os.strerror(number)))

    def _send(self, data: bytes) -> None:
        if self._unsent:  # the loop says when the socket takes more
            self._unsent.append(memoryview(data))
            return
        sent = self._try(data)
        if self._open and sent < len(data):
            self._unsent.append(memoryview(data)[sent:])
            self._services.set_writer(self._socket.fileno(), self._on_writable)

    def _on_writable(self) -> None:
        while self._open and self._unsent:
            data = self._unsent.popleft()
            sent = self._try(data)
            if sent < len(data):
                self._unsent.appendleft(data[sent:])
                return
        if self._open:
            self._services.remove_writer(self._socket.fileno())

    def _try(self, data: bytes | memoryview) -> int:
        """Send as much as the socket takes; return how many bytes that is."""
        try:
            return self._socket.send(data)
        except _NOT_NOW:
            return 0
        except OSError as error:
            self._fail(error)
            return 0

    def _fail(self, error: BaseException) -> None:
        if self._open:
            self._reason = error
        self._end()

    def _end(self) -> None:
        """Stop reading and writing, and tell the protocol once it is not in the middle of it."""
        if not self._open:
            return
        self.forget()
        self._unsent.clear()
        self._services.remove_reader(self._socket.fileno())
        self._services.remove_writer(self._socket.fileno())
        self._services.add_callback_threadsafe(self._tell_lost)

    def _tell_lost(self) -> None:
        try:
            self._protocol.connection_lost(self._reason)
        finally:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
            self._socket.close()
