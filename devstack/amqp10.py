"""A sender of AMQP 1.0: values, message sections and a connection, written frame by frame.

RabbitMQ 4 takes it on the port of AMQP 0-9-1, from whoever may publish. It lets a test send what no
library of AMQP 0-9-1 can. Values are encoded by the caller (`string`, `symbol`, ...), so that
sections may hold any type anywhere, right or wrong. OASIS AMQP 1.0, parts 1 (types), 2, 3 and 5.
"""

import socket
import struct
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Final, Self
from urllib.parse import unquote, urlsplit

NULL: Final = b"\x40"

HEADER: Final = 0x70
DELIVERY_ANNOTATIONS: Final = 0x71
MESSAGE_ANNOTATIONS: Final = 0x72
PROPERTIES: Final = 0x73
APPLICATION_PROPERTIES: Final = 0x74
DATA: Final = 0x75
AMQP_SEQUENCE: Final = 0x76
AMQP_VALUE: Final = 0x77
FOOTER: Final = 0x78

_PROPERTIES: Final = (
    *("message_id", "user_id", "to", "subject", "reply_to", "correlation_id", "content_type"),
    *("content_encoding", "absolute_expiry_time", "creation_time", "group_id", "group_sequence"),
    "reply_to_group_id",
)
_HEADER: Final = ("durable", "priority", "ttl", "first_acquirer", "delivery_count")

_OPEN, _BEGIN, _ATTACH, _FLOW, _TRANSFER, _DISPOSITION = 0x10, 0x11, 0x12, 0x13, 0x14, 0x15
_DETACH, _END, _CLOSE = 0x16, 0x17, 0x18
_MECHANISMS, _INIT, _OUTCOME = 0x40, 0x41, 0x44
_REFUSALS: Final = {_DETACH: "link detached", _END: "session ended", _CLOSE: "connection closed"}
_TIMEOUT: Final = 10.0
_MAX_FRAME: Final = 65_536


class RefusedError(Exception):
    """The broker closed the link, the session or the connection, or refused a message."""


# Values


def boolean(value: bool) -> bytes:  # noqa: FBT001  # that is the value
    return b"\x41" if value else b"\x42"


def ubyte(value: int) -> bytes:
    return b"\x50" + bytes((value,))


def uint(value: int) -> bytes:
    return b"\x70" + struct.pack(">I", value)


def ulong(value: int) -> bytes:
    return b"\x80" + struct.pack(">Q", value)


def long(value: int) -> bytes:
    return b"\x81" + struct.pack(">q", value)


def double(value: float) -> bytes:
    return b"\x82" + struct.pack(">d", value)


def timestamp(milliseconds: int) -> bytes:
    return b"\x83" + struct.pack(">q", milliseconds)


def uuid(value: bytes) -> bytes:
    return b"\x98" + value


def binary(value: bytes) -> bytes:
    return b"\xb0" + struct.pack(">I", len(value)) + value


def string(value: str | bytes) -> bytes:
    encoded = value.encode() if isinstance(value, str) else value
    return b"\xb1" + struct.pack(">I", len(encoded)) + encoded


def symbol(value: str) -> bytes:
    return b"\xb3" + struct.pack(">I", len(value)) + value.encode()


def compound(items: Iterable[bytes]) -> bytes:
    """Write a list of values."""
    return _compound(b"\xd0", list(items))


def mapping(items: Mapping[bytes, bytes]) -> bytes:
    """Write a map; its keys are encoded values as well."""
    return _compound(b"\xd1", [part for pair in items.items() for part in pair])


def described(code: int, value: bytes) -> bytes:
    """Say what a value is: a section of a message, a performative."""
    return b"\x00\x53" + bytes((code,)) + value


def _compound(kind: bytes, items: list[bytes]) -> bytes:
    content = struct.pack(">I", len(items)) + b"".join(items)
    return kind + struct.pack(">I", len(content)) + content


# Sections


def header(**fields: bytes) -> bytes:
    """Write the section of durable, priority, ttl, first_acquirer and delivery_count."""
    return described(HEADER, _by_name(_HEADER, fields))


def properties(**fields: bytes) -> bytes:
    """Write the section of message_id, reply_to, content_type and their like."""
    return described(PROPERTIES, _by_name(_PROPERTIES, fields))


def application_properties(items: Mapping[bytes, bytes]) -> bytes:
    return described(APPLICATION_PROPERTIES, mapping(items))


def message_annotations(items: Mapping[bytes, bytes]) -> bytes:
    return described(MESSAGE_ANNOTATIONS, mapping(items))


def footer(items: Mapping[bytes, bytes]) -> bytes:
    return described(FOOTER, mapping(items))


def data(body: bytes) -> bytes:
    """Write the section that is the body of a message of AMQP 0-9-1."""
    return described(DATA, binary(body))


def _by_name(names: tuple[str, ...], fields: Mapping[str, bytes]) -> bytes:
    unknown = set(fields) - set(names)
    if unknown:
        raise ValueError(f"no such field: {sorted(unknown)}")
    return compound(fields.get(name, NULL) for name in names)


# The connection


class Sender:
    """One connection with one link, to one queue by its name.

    Raises `RefusedError` if the broker wants none of it, OSError if it closes without a word.
    """

    def __init__(self, amqp_url: str, queue: str) -> None:
        """`amqp_url` is one of AMQP 0-9-1: host, user, password and virtual host are the same."""
        parts = urlsplit(amqp_url)
        self._socket = socket.create_connection(
            (parts.hostname or "127.0.0.1", parts.port or 5672), timeout=_TIMEOUT
        )
        self._received = b""
        self._sent = 0
        try:
            self._log_in(unquote(parts.username or "guest"), unquote(parts.password or "guest"))
            self._open(unquote(parts.path.removeprefix("/")) or "/", f"/queues/{queue}")
        except BaseException:
            self._socket.close()
            raise

    def send(self, *sections: bytes) -> None:
        """Send a message, and wait until the broker has it. Raises `RefusedError` if not."""
        self.send_settled(*sections, settled=False)
        outcome = self._wait_for(_DISPOSITION)
        if b"\x00\x53\x24" not in outcome:  # the described state `accepted`
            raise RefusedError(f"the message was not accepted: {outcome!r}")

    def send_settled(self, *sections: bytes, settled: bool = True) -> None:
        """Send a message without waiting for anything (mind the credit: some hundreds)."""
        tag = struct.pack(">I", self._sent)
        message = b"".join(sections)
        fields = [uint(0), uint(self._sent), binary(tag), uint(0), boolean(settled)]
        self._sent += 1
        room = _MAX_FRAME - 100
        for start in range(0, len(message), room):
            more = boolean(start + room < len(message))
            performative = described(_TRANSFER, compound([*fields, more]))
            self._write(0, performative + message[start : start + room])

    def close(self) -> None:
        """Close it, once the broker has read all that was sent; harmless if it is closed."""
        try:
            self._write(0, described(_CLOSE, compound([])))
            self._wait_for(_CLOSE)
        except (OSError, RefusedError):
            pass
        finally:
            self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _log_in(self, user: str, password: str) -> None:
        self._greet(3)
        self._wait_for(_MECHANISMS)
        response = f"\0{user}\0{password}".encode()
        init = described(_INIT, compound([symbol("PLAIN"), binary(response)]))
        self._write(1, init)
        if not self._wait_for(_OUTCOME).endswith((b"\x50\x00", b"\x50\x00\x40")):
            raise RefusedError("the broker does not know this user")
        self._greet(0)

    def _greet(self, protocol: int) -> None:
        greeting = b"AMQP" + bytes((protocol, 1, 0, 0))
        self._socket.sendall(greeting)
        if self._read(len(greeting)) != greeting:
            raise RefusedError("the broker speaks no AMQP 1.0")

    def _open(self, vhost: str, address: str) -> None:
        self._write(
            0,
            described(
                _OPEN, compound([string("test"), string(f"vhost:{vhost}"), uint(_MAX_FRAME)])
            ),
        )
        self._wait_for(_OPEN)
        self._write(0, described(_BEGIN, compound([NULL, uint(0), uint(2048), uint(2048)])))
        self._wait_for(_BEGIN)
        source = described(0x28, compound([]))
        target = described(0x29, compound([string(address)]))
        link = [string("link"), uint(0), b"\x42", NULL, NULL, source, target, NULL, NULL]
        self._write(0, described(_ATTACH, compound([*link, uint(0)])))
        self._wait_for(_ATTACH)
        self._wait_for(_FLOW)  # with it comes credit for some messages

    def _write(self, kind: int, payload: bytes) -> None:
        frame = struct.pack(">IBBH", 8 + len(payload), 2, kind, 0)
        self._socket.sendall(frame + payload)

    def _wait_for(self, wanted: int) -> bytes:
        """Read up to the next performative of a kind."""
        while True:
            (size,) = struct.unpack(">I", self._read(4))
            payload = self._read(size - 4)[4:]
            kind = payload[2] if payload else None
            if kind == wanted:
                return payload
            if kind in _REFUSALS:
                raise RefusedError(f"{_REFUSALS[kind]}: {payload!r}")

    def _read(self, size: int) -> bytes:
        while len(self._received) < size:
            more = self._socket.recv(65_536)
            if not more:
                raise ConnectionResetError("the broker closed the connection")
            self._received += more
        taken, self._received = self._received[:size], self._received[size:]
        return taken
