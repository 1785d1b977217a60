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
    Properties,
    read_content_header,
    read_delivery,
)

OnDelivery = Callable[[int, bool, Properties, bytes], None]
"""Takes one message: delivery tag, whether it was redelivered, properties, body.

It must not raise.
"""

_PROTOCOL_HEADER = b"AMQP"


@dataclass(slots=True)
class _Incoming:
    """A message of which not all frames are there."""

    tag: int
    redelivered: bool
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
        self._rest = data[self._walk(data) :]

    def _walk(self, data: bytes) -> int:
        """Take or pass on every whole frame; return where the rest begins."""
        at, kept_from, end = 0, 0, len(data)
        while end - at >= FRAME_OVERHEAD:
            kind, channel, size = FRAME_HEADER.unpack_from(data, at)
            after = at + FRAME_OVERHEAD + size
            if after > end:
                break
            on_delivery = None
            if kind == METHOD:
                on_delivery = self._consumer_of(channel, data, at + FRAME_HEADER.size)
            elif channel in self._incoming and kind in (HEADER, BODY):
                on_delivery = self._incoming[channel].on_delivery
            if on_delivery is not None:
                if kept_from < at:
                    self._pass_on(data[kept_from:at])
                payload = data[at + FRAME_HEADER.size : after - 1]
                if kind == METHOD:
                    after = self._take_message(channel, payload, on_delivery, data, after)
                else:
                    self._take_frame(kind, channel, payload)
                self.taken += after - at
                kept_from = after
            at = after
        if kept_from < at:
            self._pass_on(data[kept_from:at])
        return at

    def _consumer_of(self, channel: int, data: bytes, at: int) -> OnDelivery | None:
        """Tell who takes the delivery whose method's payload begins here, if it is one."""
        if not data.startswith(BASIC_DELIVER, at):
            return None
        start = at + len(BASIC_DELIVER) + 1
        return self._consumers.get((channel, data[start : start + data[start - 1]]))

    def _take_message(
        self, channel: int, payload: bytes, on_delivery: OnDelivery, data: bytes, at: int
    ) -> int:
        """Take a delivery, with the frames behind it if they are there; return where it ends.

        Nearly always they are: header and one body, read here without a look at each by itself.
        """
        tag, redelivered = read_delivery(payload)
        body_at = _end_of(HEADER, channel, data, at)
        end = body_at and _end_of(BODY, channel, data, body_at)
        if end:
            missing, properties = read_content_header(data[at + FRAME_HEADER.size : body_at - 1])
            body = data[body_at + FRAME_HEADER.size : end - 1]
            if missing == len(body):
                on_delivery(tag, redelivered, properties, body)
                return end
        self._incoming[channel] = _Incoming(tag, redelivered, on_delivery)
        return at

    def _take_frame(self, kind: int, channel: int, payload: bytes) -> None:
        incoming = self._incoming[channel]
        if kind == HEADER:
            incoming.missing, incoming.properties = read_content_header(payload)
        else:
            incoming.body.append(payload)
            incoming.missing -= len(payload)
        if incoming.missing <= 0:
            del self._incoming[channel]
            incoming.on_delivery(
                incoming.tag, incoming.redelivered, incoming.properties, b"".join(incoming.body)
            )


def _end_of(wanted: int, wanted_channel: int, data: bytes, at: int) -> int:
    """Tell where the frame ends that begins here; 0 if it is not all there, or another one."""
    if len(data) - at < FRAME_OVERHEAD:
        return 0
    kind, channel, size = FRAME_HEADER.unpack_from(data, at)
    after: int = at + FRAME_OVERHEAD + size
    return after if kind == wanted and channel == wanted_channel and after <= len(data) else 0
