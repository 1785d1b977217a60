"""Guards the worker's connection against message headers that pika cannot read.

pika decodes the header table of each message before anybody sees it. A date beyond year 9999, a
type that it does not know or tables nested a few thousand deep raise an error there, which ends the
connection: the message is delivered again after the reconnect, and so on for ever. The contract
uses no header, so the worker does not read them at all.
"""

from typing import Any

import pika.spec
from pika.spec import BasicProperties

_EMPTY_TABLE = b"\x00\x00\x00\x00"


class HeaderlessProperties(BasicProperties):
    """Message properties without the header table, which is skipped undecoded."""

    def decode(self, encoded: bytes, offset: int = 0) -> Any:
        """Decode what the broker sent."""
        return super().decode(_without_headers(encoded, offset), 0)  # type: ignore[no-untyped-call]


def ignore_message_headers() -> None:
    """Make every connection of this process skip message headers. For a worker's process only."""
    pika.spec.props[BasicProperties.INDEX] = HeaderlessProperties


def _without_headers(encoded: bytes, offset: int) -> bytes:
    flags = int.from_bytes(encoded[offset : offset + 2], "big")
    if not flags & BasicProperties.FLAG_HEADERS:
        return encoded[offset:]
    start = offset + 2  # the flags fit one word: 14 properties
    for flag in (BasicProperties.FLAG_CONTENT_TYPE, BasicProperties.FLAG_CONTENT_ENCODING):
        if flags & flag:
            start += 1 + encoded[start]  # a short string: one byte of length, then its bytes
    end = start + 4 + int.from_bytes(encoded[start : start + 4], "big")
    return encoded[offset:start] + _EMPTY_TABLE + encoded[end:]
