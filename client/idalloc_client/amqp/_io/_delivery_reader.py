"""Takes deliveries out of the byte stream before pika sees them, and passes all else on to it.

pika reads each of a delivery's three frames into objects, looks up who wants them, and calls back;
here a delivery is a few slices of the bytes that came; measured: with pika's reading, a request
costs a worker 2.2 times the CPU time (`benchmarks.races.frames` has both). pika
keeps the connection, its channels and consumers: only deliveries of consumers that were named here
are taken. Of bodies that are too long pika never sees a byte either.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from idalloc_client.amqp._io._delivery_layout import (
    SHORTEST,
    DeliveryLayout,
    OnDelivery,
    beginning,
)
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
        self._layouts: dict[bytes, DeliveryLayout] = {}
        """Of deliveries as there were, by their beginning."""
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
        self._layouts.clear()
        if tell_exchange:
            self._telling.add(channel)

    def forget(self, channel: int) -> None:
        """Leave a channel to pika: it has ended, and its number may be used again."""
        self._consumers = {
            key: value for key, value in self._consumers.items() if key[0] != channel
        }
        self._layouts.clear()
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
        at, end = self._take_usual(data, 0), len(data)
        while end - at >= FRAME_OVERHEAD:
            kind, channel, size = FRAME_HEADER.unpack_from(data, at)
            after = at + FRAME_OVERHEAD + size
            if after > end:
                break
            self._take_frame(kind, channel, data[at:after])
            at = self._take_usual(data, after)
        return at

    def _take_usual(self, data: bytes, at: int) -> int:
        """Take whole deliveries that are like earlier ones; return where they end."""
        first, end = at, len(data)
        while end - at > SHORTEST and (layout := self._layouts.get(beginning(data, at))):
            found = layout.read(data, at)
            if found is None:
                break
            at, message = found
            layout.on_delivery(*message)
        self.taken += at - first
        return at

    def _take_frame(self, kind: int, channel: int, whole: bytes) -> None:
        """Take a frame of a delivery to somebody here, and pass any other one on."""
        if kind == METHOD and (on_delivery := self._consumer_of(channel, whole)) is not None:
            self._begin(channel, whole, on_delivery)
            rest = b""
        elif channel in self._incoming and kind in (HEADER, BODY):
            self._go_on(kind, channel, whole[FRAME_HEADER.size : -1])
            rest = b""
        else:
            rest = self._for_pika(kind, channel, whole)
        self.taken += len(whole) - len(rest)
        if rest:
            self._pass_on(rest)

    def _for_pika(self, kind: int, channel: int, whole: bytes) -> bytes:
        """Return what of a frame pika gets: a message whose body is too long, without that."""
        if kind == HEADER:
            payload = whole[FRAME_HEADER.size : -1]
            if (size := read_body_size(payload)) > MAX_BODY:
                self._skipping[channel] = size
                return frame(HEADER, channel, without_body(payload))
        elif kind == BODY and channel in self._skipping:
            self._skipping[channel] -= len(whole) - FRAME_OVERHEAD
            if self._skipping[channel] <= 0:
                del self._skipping[channel]
            return b""
        return whole

    def _consumer_of(self, channel: int, method: bytes) -> OnDelivery | None:
        """Tell who takes the delivery that begins with this frame, if one does."""
        at = FRAME_HEADER.size
        if not method.startswith(BASIC_DELIVER, at):
            return None
        start = at + len(BASIC_DELIVER) + 1
        return self._consumers.get((channel, method[start : start + method[start - 1]]))

    def _begin(self, channel: int, method: bytes, on_delivery: OnDelivery) -> None:
        """Take the first frame of a delivery, and remember what others like it look like."""
        tells_exchange = channel in self._telling
        self._layouts[beginning(method, 0)] = DeliveryLayout(
            channel, method, on_delivery, tells_exchange=tells_exchange
        )
        payload = method[FRAME_HEADER.size : -1]
        tag, redelivered = read_delivery(payload)
        exchange = read_exchange(payload) if tells_exchange else None
        self._incoming[channel] = _Incoming(tag, redelivered, on_delivery, exchange)

    def _go_on(self, kind: int, channel: int, payload: bytes) -> None:
        incoming = self._incoming[channel]
        if kind == HEADER:
            incoming.begin(payload)
        else:
            incoming.go_on(payload)
        if incoming.missing <= 0:
            del self._incoming[channel]
            incoming.hand_over()
