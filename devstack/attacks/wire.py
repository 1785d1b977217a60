"""A publisher of AMQP 0-9-1 that writes prepared bytes to its socket: nothing floods faster.

It does by itself what no library lets through: any properties, any headers, replies never read.
"""

import contextlib
import socket
import threading
import time
from typing import Any, Final, Self
from urllib.parse import unquote, urlsplit

from pika import frame, spec
from pika.spec import BasicProperties

DIRECT_REPLY_TO: Final = "amq.rabbitmq.reply-to"

_GREETING: Final = b"AMQP\x00\x00\x09\x01"
_CHANNEL: Final = 1
_FRAME_BODY: Final = 8192 - 8  # which no broker refuses
_TIMEOUT: Final = 10.0  # seconds for the handshake
_LOOK_EVERY: Final = 0.2  # seconds between two looks at the clock while the broker takes nothing
_SMALL_BUFFER: Final = 4096  # bytes, so that what is not read stays in the broker


class Closed(Exception):  # noqa: N818  # it is what the broker did, not a fault
    """The broker closed the connection, or let nobody in."""


def message(queue: str, body: bytes, properties: BasicProperties | None = None) -> bytes:
    """Write all frames of a message to the default exchange."""
    publish = spec.Basic.Publish(exchange="", routing_key=queue)
    header = frame.Header(_CHANNEL, len(body), properties or BasicProperties())
    parts = [_bytes(frame.Method(_CHANNEL, publish)), _bytes(header)]
    for start in range(0, len(body), _FRAME_BODY):
        part = body[start : start + _FRAME_BODY]
        parts += [_bytes(frame.Body(_CHANNEL, part))]
    return b"".join(parts)


class RawConnection:
    """One connection with one channel, which consumes direct reply-to; nobody reads it yet.

    `buffer` is how many bytes the kernel keeps that were not read, if not as many as it likes.
    Raises Closed where the broker does not want it.
    """

    def __init__(self, amqp_url: str, *, buffer: int | None = None) -> None:
        parts = urlsplit(amqp_url)
        self._socket = socket.socket()
        if buffer is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self._socket.settimeout(_TIMEOUT)
        self._received = b""
        try:
            self._socket.connect((parts.hostname or "127.0.0.1", parts.port or 5672))
            self._open(
                unquote(parts.username or "guest"),
                unquote(parts.password or "guest"),
                unquote(parts.path.removeprefix("/")) or "/",
            )
        except (OSError, Closed) as error:
            self._socket.close()
            raise Closed(str(error)) from error

    def close(self) -> None:
        """Go without a goodbye."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self, user: str, password: str, vhost: str) -> None:
        self._socket.sendall(_GREETING)
        self._expect(spec.Connection.Start)
        response = f"\0{user}\0{password}"
        start_ok = spec.Connection.StartOk(
            client_properties={}, mechanism="PLAIN", response=response, locale="en_US"
        )
        self._method(0, start_ok)
        tune = self._expect(spec.Connection.Tune)
        self._method(0, spec.Connection.TuneOk(tune.channel_max, tune.frame_max, 0))
        self._method(0, spec.Connection.Open(virtual_host=vhost))
        self._expect(spec.Connection.OpenOk)
        self._method(_CHANNEL, spec.Channel.Open())
        self._expect(spec.Channel.OpenOk)
        self._method(_CHANNEL, spec.Basic.Consume(queue=DIRECT_REPLY_TO, no_ack=True))
        self._expect(spec.Basic.ConsumeOk)

    def _method(self, channel: int, method: Any) -> None:
        self._socket.sendall(_bytes(frame.Method(channel, method)))

    def _expect(self, wanted: type[Any]) -> Any:
        while True:
            consumed, decoded = frame.decode_frame(self._received)
            if decoded is None:
                more = self._socket.recv(65_536)
                if not more:
                    raise Closed("the broker closed the connection")
                self._received += more
                continue
            self._received = self._received[consumed:]
            method = getattr(decoded, "method", None)
            if isinstance(method, wanted):
                return method
            if isinstance(method, spec.Connection.Close | spec.Channel.Close):
                raise Closed(f"{method.reply_code} {method.reply_text}")


class RawPublisher(RawConnection):
    """Publishes to flood.

    Answers are read and thrown away, by a thread of its own; with `reading=False` nobody reads.
    """

    def __init__(self, amqp_url: str, *, reading: bool = True) -> None:
        super().__init__(amqp_url, buffer=None if reading else _SMALL_BUFFER)
        self._socket.settimeout(_LOOK_EVERY)
        if reading:
            threading.Thread(target=self._drain, name="replies-reader", daemon=True).start()

    def write(self, data: bytes, until: float) -> bool:
        """Write it all, or return False at the time `until` (monotonic seconds)."""
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[self._socket.send(rest) :]
            except TimeoutError:
                if time.monotonic() > until:
                    return False
            except OSError as error:
                raise Closed(str(error)) from error
        return True

    def _drain(self) -> None:
        while True:
            try:
                if not self._socket.recv(262_144):
                    return
            except TimeoutError:
                continue
            except OSError:
                return


def _bytes(one: Any) -> bytes:
    marshalled: bytes = one.marshal()
    return marshalled
