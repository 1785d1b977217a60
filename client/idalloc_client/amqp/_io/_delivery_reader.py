"""Takes deliveries out of the byte stream before pika sees them, and passes all else on to it.

pika reads each of a delivery's three frames into objects, looks up who wants them, and calls back;
here a delivery is a few slices of the bytes that came; measured: with pika's reading, a request
costs a worker 2.2 times the CPU time (`benchmarks.races.frames` has both). pika
keeps the connection, its channels and consumers: only deliveries of consumers that were named here
are taken. Of bodies that are too long pika never sees a byte either.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from idalloc_client.amqp._io._frames import (
    BASIC_DELIVER,
    BODY,
    FRAME_HEADER,
    FRAME_OVERHEAD,
    HEADER,
    MAX_BODY,
    METHOD,
    TOO_LONG,
    Properties,
    frame,
    read_body_size,
    read_content_header,
    read_delivery,
    read_exchange,
    without_body,
)

OnDelivery = Callable[[int, bool, Properties, bytes], None]
"""Takes one message: delivery tag, whether it was redelivered, properties, body.

It must not raise. A body that was too long to be read is `TOO_LONG`.
"""

_PROTOCOL_HEADER = b"AMQP"


@dataclass(slots=True)
class _Incoming:
    """A message of which not all frames are there."""

    tag: int
    redelivered: bool
    on_delivery: OnDelivery
    exchange: bytes | None = None
    properties: Properties = field(default_factory=Properties)
    missing: int = 0
    body: list[bytes] | None = field(default_factory=list)
    """What of it is there; None if it is too long, and thrown away as it comes."""

    def begin(self, header: bytes) -> None:
        """Take in the content header."""
        self.missing, self.properties = read_content_header(header)
        self.properties.exchange = self.exchange
        if self.missing > MAX_BODY:
            self.body = None

    def go_on(self, piece: bytes) -> None:
        """Take in a piece of the body."""
        self.missing -= len(piece)
        if self.body is not None:
            self.body.append(piece)

    def hand_over(self) -> None:
        """Give it to its consumer."""
        body = TOO_LONG if self.body is None else b"".join(self.body)
        self.on_delivery(self.tag, self.redelivered, self.properties, body)


class DeliveryReader:
    """Reads one connection; it belongs to the thread of its loop.

    `pass_on` is given whole frames, in the order in which they came.
    """

    def __init__(self, pass_on: Callable[[bytes], None]) -> None:
        self._pass_on = pass_on
        self._rest = b""
        self._consumers: dict[tuple[int, bytes], OnDelivery] = {}
        self._telling: set[int] = set()  # channels whose consumers want to know the exchange
        self._skipping: dict[int, int] = {}  # bytes of a body that pika is not to see, by channel
        self._incoming: dict[int, _Incoming] = {}
        self.taken = 0
        """Bytes that were not passed on."""

    def take(
        self,
        channel: int,
        consumer_tag: bytes,
        on_delivery: OnDelivery,
        *,
        tell_exchange: bool = False,
    ) -> None:
        """Take the deliveries of a consumer from now on."""
        self._consumers[channel, consumer_tag] = on_delivery
        if tell_exchange:
            self._telling.add(channel)

    def forget(self, channel: int) -> None:
        """Leave a channel to pika: it has ended, and its number may be used again."""
        self._consumers = {
            key: value for key, value in self._consumers.items() if key[0] != channel
        }
        self._telling.discard(channel)
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
            elif kind != METHOD and (instead := self._instead_of(data[at:after])) is not None:
                self._pass_on(data[kept_from:at] + instead)
                self.taken += after - at
                kept_from = after
            at = after
        if kept_from < at:
            self._pass_on(data[kept_from:at])
        return at

    def _instead_of(self, whole: bytes) -> bytes | None:
        """Return what pika is to get instead of a frame; None: the frame itself.

        A message whose body is too long reaches it without one.
        """
        kind, channel, length = FRAME_HEADER.unpack_from(whole)
        if kind == HEADER:
            payload = whole[FRAME_HEADER.size : -1]
            if (size := read_body_size(payload)) > MAX_BODY:
                self._skipping[channel] = size
                return frame(HEADER, channel, without_body(payload))
        elif kind == BODY and channel in self._skipping:
            self._skipping[channel] -= length
            if self._skipping[channel] <= 0:
                del self._skipping[channel]
            return b""
        return None

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
        Measured: 9 % of a worker's CPU time per request.
        """
        tag, redelivered = read_delivery(payload)
        body_at = _end_of(HEADER, channel, data, at)
        end = body_at and _end_of(BODY, channel, data, body_at)
        if end:
            missing, properties = read_content_header(data[at + FRAME_HEADER.size : body_at - 1])
            body = data[body_at + FRAME_HEADER.size : end - 1]
            if missing == len(body):
                if channel in self._telling:
                    properties.exchange = read_exchange(payload)
                on_delivery(tag, redelivered, properties, body)
                return end
        exchange = read_exchange(payload) if channel in self._telling else None
        self._incoming[channel] = _Incoming(tag, redelivered, on_delivery, exchange)
        return at

    def _take_frame(self, kind: int, channel: int, payload: bytes) -> None:
        incoming = self._incoming[channel]
        if kind == HEADER:
            incoming.begin(payload)
        else:
            incoming.go_on(payload)
        if incoming.missing <= 0:
            del self._incoming[channel]
            incoming.hand_over()


def _end_of(wanted: int, wanted_channel: int, data: bytes, at: int) -> int:
    """Tell where the frame ends that begins here; 0 if it is not all there, or another one."""
    if len(data) - at < FRAME_OVERHEAD:
        return 0
    kind, channel, size = FRAME_HEADER.unpack_from(data, at)
    after: int = at + FRAME_OVERHEAD + size
    return after if kind == wanted and channel == wanted_channel and after <= len(data) else 0
