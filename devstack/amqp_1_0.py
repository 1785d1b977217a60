"""A publisher over AMQP 1.0, which RabbitMQ 4 speaks on the port of 0-9-1.

Just enough of the OASIS standard (part 1 types, part 2 transport, part 5 SASL) to send a message.
"""

import socket
import struct
from collections.abc import Mapping
from typing import Final, Self
from urllib.parse import SplitResult, quote, unquote, urlsplit

NULL: Final = b"\x40"
_SASL_INIT, _SASL_OUTCOME = 0x41, 0x44
_OPEN, _BEGIN, _ATTACH, _FLOW, _TRANSFER, _DISPOSITION = 0x10, 0x11, 0x12, 0x13, 0x14, 0x15
_ANNOTATIONS, _PROPERTIES, _DATA = 0x72, 0x73, 0x75
_ACCEPTED: Final = b"\x00\x53\x24"
_PATIENCE: Final = 60.0  # seconds


def symbol(text: str) -> bytes:
    """Encode a symbol."""
    return b"\xa3" + bytes((len(text),)) + text.encode()


def string(text: str) -> bytes:
    """Encode a string."""
    return b"\xb1" + struct.pack(">I", len(text.encode())) + text.encode()


def binary(data: bytes) -> bytes:
    """Encode bytes."""
    return b"\xb0" + struct.pack(">I", len(data)) + data


def _uint(number: int) -> bytes:
    return b"\x70" + struct.pack(">I", number)


def _described(code: int, value: bytes) -> bytes:
    return b"\x00\x53" + bytes((code,)) + value


def _list(*items: bytes) -> bytes:
    body = b"".join(items)
    return b"\xd0" + struct.pack(">II", len(body) + 4, len(items)) + body


def _map(pairs: list[tuple[bytes, bytes]]) -> bytes:
    body = b"".join(key + value for key, value in pairs)
    return b"\xd1" + struct.pack(">II", len(body) + 4, 2 * len(pairs)) + body


class RefusedError(Exception):
    """The broker did not accept a message, or closed the connection for it."""


class Publisher:
    """One connection, which sends to one queue."""

    def __init__(self, amqp_url: str, queue: str) -> None:
        parts = urlsplit(amqp_url)
        assert parts.hostname is not None
        self._socket = socket.create_connection((parts.hostname, parts.port or 5672), _PATIENCE)
        self._sent = 0
        try:
            self._log_in(parts, queue)
        except BaseException:
            self._socket.close()
            raise

    def _log_in(self, parts: SplitResult, queue: str) -> None:
        login = f"\0{unquote(parts.username or '')}\0{unquote(parts.password or '')}".encode()
        self._greet(3)
        self._send(1, _SASL_INIT, symbol("PLAIN"), binary(login))
        self._await(_SASL_OUTCOME)
        self._greet(0)
        vhost = unquote(parts.path[1:]) or "/"
        self._send(0, _OPEN, string("test"), string(f"vhost:{vhost}"))
        self._send(0, _BEGIN, NULL, _uint(0), _uint(1000), _uint(1000))
        target = _described(0x29, _list(string(f"/queues/{quote(queue, safe='')}")))
        source = _described(0x28, _list())
        modes = (b"\x50\x00", b"\x50\x00")  # each message is settled once it is accepted
        self._send(
            0,
            _ATTACH,
            *(string("link"), _uint(0), b"\x42", *modes, source, target, NULL, NULL, _uint(0)),
        )
        self._await(_FLOW)

    def publish(
        self,
        body: bytes,
        annotations: list[tuple[bytes, bytes]] | None = None,
        properties: Mapping[int, bytes] | None = None,
    ) -> None:
        """Send a message, and wait until the broker has accepted it.

        `annotations` are encoded keys and values, `properties` encoded values by their place in the
        list of the standard (3.2.4): 1 is `user-id`. Raises RefusedError.
        """
        payload = b""
        if annotations:
            payload += _described(_ANNOTATIONS, _map(annotations))
        if properties:
            fields = [properties.get(place, NULL) for place in range(max(properties) + 1)]
            payload += _described(_PROPERTIES, _list(*fields))
        payload += _described(_DATA, binary(body))
        tag = binary(b"%d" % self._sent)
        self._send(
            0, _TRANSFER, *(_uint(0), _uint(self._sent), tag, _uint(0), b"\x42"), payload=payload
        )
        self._sent += 1
        if _ACCEPTED not in self._await(_DISPOSITION):
            raise RefusedError("not accepted")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def _greet(self, protocol: int) -> None:
        header = b"AMQP" + bytes((protocol, 1, 0, 0))
        self._socket.sendall(header)
        if (answer := self._read(8)) != header:
            raise RefusedError(f"the broker does not speak AMQP 1.0: {answer!r}")

    def _send(self, kind: int, code: int, *fields: bytes, payload: bytes = b"") -> None:
        body = _described(code, _list(*fields)) + payload
        self._socket.sendall(struct.pack(">IBBH", len(body) + 8, 2, kind, 0) + body)

    def _await(self, code: int) -> bytes:
        """Read frames until one is of a kind, and return it."""
        while True:
            (size,) = struct.unpack(">I", self._read(4))
            body = self._read(size - 4)[4:]
            if body.startswith(bytes((0x00, 0x53, code))):
                return body
            if body[:3] in (b"\x00\x53\x18", b"\x00\x53\x17", b"\x00\x53\x16"):
                raise RefusedError(repr(body))

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = self._socket.recv(size - len(data))
            if not piece:
                raise RefusedError("the broker closed the connection")
            data += piece
        return data
