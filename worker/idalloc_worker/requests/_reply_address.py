"""Says which reply addresses may be answered: some would end the connection that answers.

A direct reply-to address, `amq.rabbitmq.reply-to.PID.KEY`, names a process inside the broker.
Anybody may invent one, and RabbitMQ before 4.1 fails over some that it cannot read: it closes the
connection that published to it (541), and the request is delivered again, to whoever answers next.
"""

import base64
import re
import struct
from collections.abc import Mapping
from typing import Any, Final

from idalloc_schemas import ALLOC_QUEUE, FLEET_EXCHANGE, HEALTH_QUEUE
from idalloc_worker.tags import QUEUES

_DIRECT: Final = b"amq.rabbitmq.reply-to"
_OURS: Final = frozenset(queue.encode() for queue in (ALLOC_QUEUE, HEALTH_QUEUE, *QUEUES))
_FLEET: Final = FLEET_EXCHANGE.encode()
_LONGEST: Final = 255  # bytes of a name in AMQP
_REMEMBERED: Final = 10_000  # addresses: a caller has one for each of its channels

_PARTS: Final = re.compile(
    rb"amq\.rabbitmq\.reply-to\.([A-Za-z0-9+/]{30,48}={0,2})\.[A-Za-z0-9+/]{22}=="
)
_PID: Final = re.compile(rb"\x83Xv(..)reply@(?:0|[1-9][0-9]{0,8})(.{12})", re.DOTALL)
"""Erlang's external format of a process (NEW_PID_EXT, its node as ATOM_UTF8_EXT): RabbitMQ writes
no other. The node's name is replaced by its hash."""
_LENGTH_OF_NAME: Final = struct.Struct(">H")
_NUMBER_AND_SERIAL: Final = struct.Struct(">II")
_AFTER_NAME: Final = 12  # bytes
_AROUND_NAME: Final = 3 + 2 + _AFTER_NAME

_FIRST_UNKNOWN: Final = (4, 4)
"""From this release on the format may be another one; it fails over none since 4.1."""
_FIRST_WIDE: Final = (3, 12)
"""Before it, the broker runs on an Erlang whose processes have narrow numbers, and which fails over
others; later ones may be wider."""
_NODES_CHECKED: Final = (3, 10, 12)
_FIRST_OF_3_11: Final = (3, 11, 0)
_NODES_CHECKED_3_11: Final = (3, 11, 4)
"""Before these, the broker fails over an address that names no node of its cluster that runs."""
_NARROW: Final = (1 << 15, 1 << 13)
_WIDE: Final = (1 << 28, 1 << 32)

Release = tuple[int, int, int]


def release_of(properties: Mapping[str, Any] | None) -> Release | None:
    """Read which RabbitMQ it is from what a server says of itself; None if it is something else."""
    told = properties or {}
    version = re.match(r"(\d+)\.(\d+)\.(\d+)", _text(told.get("version")))
    if _text(told.get("product")) != "RabbitMQ" or version is None:
        return None
    major, minor, patch = map(int, version.groups())
    return major, minor, patch


class ReplyAddresses:
    """Belongs to one connection, of whose broker it knows the release.

    `admitted` holds addresses that were looked at and found good, and may be answered at once.
    Measured: 14 % of a worker's CPU time per request.
    """

    def __init__(self, release: Release | None) -> None:
        self.admitted: set[bytes] = set()
        self._fails_over_nodes = release is not None and (
            release < _NODES_CHECKED or _FIRST_OF_3_11 <= release < _NODES_CHECKED_3_11
        )
        self._strict = release is not None and release < _FIRST_UNKNOWN
        narrow = release is not None and release < _FIRST_WIDE
        self._numbers, self._serials = _NARROW if narrow else _WIDE

    def admit(self, reply_to: bytes | None) -> bool:
        """Look at an address: whether there may be somebody to answer, and no harm in it."""
        if not reply_to or not self._good(reply_to):
            return False
        if len(self.admitted) >= _REMEMBERED:
            self.admitted.clear()
        if self.node_at_risk(reply_to) is None:
            self.admitted.add(reply_to)
        return True

    def node_at_risk(self, reply_to: bytes) -> bytes | None:
        """Tell which of the broker's nodes a good address names, if the broker fails over others.

        It closes the connection then also for a node that has just ended.
        """
        parts = _PARTS.fullmatch(reply_to) if self._fails_over_nodes else None
        return None if parts is None else base64.b64decode(parts[1])[:-_AFTER_NAME]

    def _good(self, reply_to: bytes) -> bool:
        if reply_to.startswith(_DIRECT):
            return self._direct(reply_to)
        return len(reply_to) <= _LONGEST and not _is_ours(reply_to)

    def _direct(self, reply_to: bytes) -> bool:
        if not reply_to.startswith(_DIRECT + b"."):
            # The pseudo-queue itself is no address; names that merely begin like it are queues.
            return reply_to != _DIRECT and len(reply_to) <= _LONGEST
        if not self._strict:
            return len(reply_to) <= _LONGEST
        parts = _PARTS.fullmatch(reply_to)
        return parts is not None and self._names_process(parts[1])

    def _names_process(self, encoded: bytes) -> bool:
        try:
            pid = base64.b64decode(encoded, validate=True)
        except ValueError:  # its length is wrong
            return False
        fields = _PID.fullmatch(pid)
        if fields is None or _LENGTH_OF_NAME.unpack(fields[1])[0] != len(pid) - _AROUND_NAME:
            return False
        number, serial = _NUMBER_AND_SERIAL.unpack_from(fields[2])
        return bool(number < self._numbers and serial < self._serials)


def _is_ours(name: bytes) -> bool:
    """Whether an answer into this queue would be a loop, or a message to workers."""
    return name in _OURS or name == _FLEET or name.startswith(_FLEET + b".")


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
