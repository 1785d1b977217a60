"""Takes deliveries out of the byte stream before pika sees them, and passes all else on to it.

pika reads each of a delivery's three frames into objects, looks up who wants them, and calls back;
here a delivery is a few slices of the bytes that came (`benchmarks/frames.py` shows both). pika
keeps the connection, its channels and consumers: only deliveries of consumers that were named here
are taken.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from idalloc_client._frames import (
    BASIC_DELIVER,
    BODY,
    FRAME_HEADER,
    FRAME_OVERHEAD,
    HEADER,
    METHOD,
    DeliveryHead,
    Properties,
    read_content_header,
    read_delivery,
)

OnDelivery = Callable[[DeliveryHead, Properties, bytes], None]
"""Takes one message; it must not raise."""

_PROTOCOL_HEADER = b"AMQP"


@dataclass(slots=True)
class _Incoming:
    """A message of which not all frames are there."""

    head: DeliveryHead
    on_delivery: OnDelivery
    properties: Properties = field(default_factory=Properties)
    missing: int = 0
    body: list[bytes] = field(default_factory=list)


class Shortcut:
    """Reads one connection; it belongs to the thread of its loop.

    `pass_on` is given whole frames, in the order in which they came.
    """

    def __init__(self, pass_on: Callable[[bytes], None]) -> None:
        self._pass_on = pass_on
        self._rest = b""
        self._consumers: dict[tuple[int, bytes], OnDelivery] = {}
        self._incoming: dict[int, _Incoming] = {}
        self.taken = 0
        """Bytes that were not passed on."""

    def take(self, channel: int, consumer_tag: bytes, on_delivery: OnDelivery) -> None:
        """Take the deliveries of a consumer from now on."""
        self._consumers[channel, consumer_tag] = on_delivery

    def forget(self, channel: int) -> None:
        """Leave a channel to pika: it has ended, and its number may be used again."""
        self._consumers = {
            key: value for key, value in self._consumers.items() if key[0] != channel
        }
        self._incoming.pop(channel, None)

    def feed(self, data: bytes) -> None:
        """Take in what was read from the socket."""
        if self._rest:
            data = self._rest + data
            self._rest = b""
        if data.startswith(_PROTOCOL_HEADER):  # no frame: the broker speaks another version
            self._pass_on(data)
            return
        at, kept_from, end = 0, 0, len(data)
        while end - at >= FRAME_OVERHEAD:
            kind, channel, size = FRAME_HEADER.unpack_from(data, at)
            after = at + FRAME_OVERHEAD + size
            if after > end:
                break
            if self._is_ours(kind, channel, data, at):
                if kept_from < at:
                    self._pass_on(data[kept_from:at])
                self._take_frame(kind, channel, data[at + FRAME_HEADER.size : after - 1])
                self.taken += after - at
                kept_from = after
            at = after
        if kept_from < at:
            self._pass_on(data[kept_from:at])
        self._rest = data[at:]

    def _is_ours(self, kind: int, channel: int, data: bytes, at: int) -> bool:
        if kind != METHOD:
            return kind in (HEADER, BODY) and channel in self._incoming
        if not self._consumers or not data.startswith(BASIC_DELIVER, at + FRAME_HEADER.size):
            return False
        start = at + FRAME_HEADER.size + len(BASIC_DELIVER) + 1
        return (channel, data[start : start + data[start - 1]]) in self._consumers

    def _take_frame(self, kind: int, channel: int, payload: bytes) -> None:
        if kind == METHOD:
            head = read_delivery(payload)
            on_delivery = self._consumers[channel, head.consumer_tag]
            self._incoming[channel] = _Incoming(head, on_delivery)
            return
        incoming = self._incoming[channel]
        if kind == HEADER:
            incoming.missing, incoming.properties = read_content_header(payload)
        else:
            incoming.body.append(payload)
            incoming.missing -= len(payload)
        if incoming.missing <= 0:
            del self._incoming[channel]
            incoming.on_delivery(incoming.head, incoming.properties, b"".join(incoming.body))
