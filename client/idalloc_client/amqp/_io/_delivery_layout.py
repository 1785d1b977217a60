"""Where the parts of a delivery stand in its bytes: at the same places in nearly all of a consumer.

They differ in tag, properties and body. So they are read with two looks, not frame by frame;
measured: 11 % of a worker's CPU time per request.
"""

from collections.abc import Callable
from struct import Struct
from typing import Final

from idalloc_client.amqp._io._frames import (
    BASIC_DELIVER,
    BODY,
    FRAME_END,
    FRAME_HEADER,
    FRAME_OVERHEAD,
    HEADER,
    HEADER_FRAME,
    MAX_BODY,
    NEXT_FRAME,
    TAG_AND_FLAGS,
    Properties,
    read_exchange,
    read_properties,
)

OnDelivery = Callable[[int, bool, Properties, bytes], None]
"""Takes one message: delivery tag, whether it was redelivered, properties, body.

What it raises ends the connection. A body that was too long to be read is `TOO_LONG`.
"""

_END: Final = FRAME_END[0]
_LENGTH_AT = FRAME_HEADER.size + len(BASIC_DELIVER)  # of the consumer's tag, which follows
SHORTEST = _LENGTH_AT + 1
"""Bytes without which nothing can be said of a delivery."""


def beginning(data: bytes, at: int) -> bytes:
    """Return a delivery up to its delivery tag: the frame's size, and the consumer's tag."""
    return data[at : at + SHORTEST + data[at + _LENGTH_AT]]


class DeliveryLayout:
    """Deliveries that begin alike. `method` is the first frame of one of them."""

    __slots__ = ("_channel", "_fixed", "_header_at", "_tells_exchange", "on_delivery")

    def __init__(
        self, channel: int, method: bytes, on_delivery: OnDelivery, *, tells_exchange: bool
    ) -> None:
        self.on_delivery = on_delivery
        self._channel = channel
        before = len(beginning(method, 0))
        after = len(method) - before - TAG_AND_FLAGS.size - 1  # exchange and routing key
        tag, header = TAG_AND_FLAGS.format.lstrip(">"), HEADER_FRAME.format.lstrip(">")
        self._fixed = Struct(f">{before}x{tag}{after}xB{header}")
        """Tag, flags, the frame's end; then the content header's frame, up to its properties."""
        self._header_at = len(method) + FRAME_HEADER.size
        self._tells_exchange = tells_exchange

    def read(self, data: bytes, at: int) -> tuple[int, tuple[int, bool, Properties, bytes]] | None:
        """Read a delivery; return where it ends, and what an `OnDelivery` takes.

        None unless all of it is there, with a body that is not too long in one frame.
        """
        end = len(data)
        if end - at < self._fixed.size:
            return None
        found = self._fixed.unpack_from(data, at)
        tag, flags, ended, kind, channel, size, _, _, length, present = found
        if length > MAX_BODY or ended != _END:
            return None
        header_at = at + self._header_at
        body_at = header_at + size + 1
        if kind != HEADER or channel != self._channel or end - body_at < FRAME_OVERHEAD:
            return None
        ended, kind, channel, here = NEXT_FRAME.unpack_from(data, body_at - 1)
        after = body_at + FRAME_OVERHEAD + here
        if kind != BODY or channel != self._channel or here != length or after > end:
            return None
        if ended != _END or data[after - 1] != _END:
            return None
        properties = read_properties(data[header_at : body_at - 1], present)
        if self._tells_exchange:
            properties.exchange = read_exchange(data[at + FRAME_HEADER.size : header_at])
        body = data[body_at + FRAME_HEADER.size : after - 1]
        return after, (tag, bool(flags & 1), properties, body)
