"""Takes deliveries out of the byte stream before pika sees them, and passes all else on to it.

pika reads each of a delivery's three frames into objects, looks up who wants them, and calls back;
here a delivery is a few slices of the bytes that came; measured: with pika's reading, a request
costs a worker 2.2 times the CPU time (`benchmarks.races.frames` has both). pika
keeps the connection, its channels and consumers: only deliveries of consumers that were named here
are taken. Of bodies that are too long pika never sees a byte either.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from pika.exceptions import BodyTooLongError, InvalidFrameError, UnexpectedFrameError

from idalloc_client.amqp._io._delivery_layout import (
    SHORTEST,
    DeliveryLayout,
    OnDelivery,
    beginning,
)
from idalloc_client.amqp._io._frames import (
    BASIC_DELIVER,
    BODY,
    FRAME_END,
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
_WITH_VERSION = 8  # bytes


class ConsumerError(Exception):
    """A consumer raised `cause`, which says nothing about what was read."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(cause)
        self.cause = cause


@dataclass(slots=True)
class _Incoming:
    """A message of which not all frames are there."""

    tag: int
    redelivered: bool
    on_delivery: OnDelivery
    exchange: bytes | None = None
    properties: Properties = field(default_factory=Properties)
    size: int | None = None
    """Bytes of the body; None until its content header is there."""
    missing: int = 0
    body: list[bytes] | None = field(default_factory=list)
    """What of it is there; None if it is too long, and thrown away as it comes."""

    def begin(self, header: bytes) -> None:
        """Take in the content header."""
        self.size, self.properties = read_content_header(header)
        self.missing = self.size
        self.properties.exchange = self.exchange
        if self.missing > MAX_BODY:
            self.body = None

    def go_on(self, piece: bytes) -> None:
        """Take in a piece of the body."""
        if self.size is None:
            raise UnexpectedFrameError("a body before its content header")
        self.missing -= len(piece)
        if self.missing < 0:
            raise BodyTooLongError(self.size - self.missing, self.size)
        if self.body is not None:
            self.body.append(piece)

    def hand_over(self) -> None:
        """Give it to its consumer."""
        body = TOO_LONG if self.body is None else b"".join(self.body)
        try:
            self.on_delivery(self.tag, self.redelivered, self.properties, body)
        except Exception as error:
            raise ConsumerError(error) from error


class DeliveryReader:
    """Reads one connection; it belongs to the thread of its loop.

    `pass_on` is given whole frames, in the order in which they came; or the broker's protocol
    header, where that speaks another version. As pika does, it raises `pika.exceptions.AMQPError`
    for what is no AMQP.
    """

    def __init__(self, pass_on: Callable[[bytes], None]) -> None:
        self._pass_on = pass_on
        self._rest = b""
        self._consumers: dict[tuple[int, bytes], tuple[OnDelivery, bool]] = {}
        """Who takes a channel's deliveries to a tag, and whether that one asks for the exchange."""
        self._layouts: dict[bytes, DeliveryLayout] = {}
        """Of deliveries as there were, by their beginning."""
        self._skipping: dict[int, int] = {}  # bytes of a body that pika is not to see, by channel
        self._incoming: dict[int, _Incoming] = {}

    def take(
        self,
        channel: int,
        consumer_tag: bytes,
        on_delivery: OnDelivery,
        *,
        tell_exchange: bool = False,
    ) -> None:
        """Take the deliveries of a consumer from now on."""
        self._consumers[channel, consumer_tag] = on_delivery, tell_exchange
        self._layouts.clear()

    def forget(self, channel: int) -> None:
        """Leave a channel to pika: it has ended, and its number may be used again."""
        self._consumers = {
            key: value for key, value in self._consumers.items() if key[0] != channel
        }
        self._layouts.clear()
        self._skipping.pop(channel, None)
        self._incoming.pop(channel, None)

    def feed(self, data: bytes) -> None:
        """Take in what was read from the socket. Raises ConsumerError, with the rest not read."""
        if self._rest:
            data = self._rest + data
            self._rest = b""
        if data.startswith(_PROTOCOL_HEADER) and len(data) >= _WITH_VERSION:  # this is no frame
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
            if data[after - 1] != FRAME_END[0]:
                raise InvalidFrameError("a frame does not end where it should")
            self._take_frame(kind, channel, data[at:after])
            at = self._take_usual(data, after)
        return at

    def _take_usual(self, data: bytes, at: int) -> int:
        """Take whole deliveries that are like earlier ones; return where they end."""
        end = len(data)
        while end - at > SHORTEST and (layout := self._layouts.get(beginning(data, at))):
            found = layout.read(data, at)
            if found is None:
                break
            at, message = found
            try:
                layout.on_delivery(*message)
            except Exception as error:
                raise ConsumerError(error) from error
        return at

    def _take_frame(self, kind: int, channel: int, whole: bytes) -> None:
        """Take a frame of a delivery to somebody here, and pass any other one on."""
        if kind == METHOD and (consumer := self._consumer_of(channel, whole)) is not None:
            self._begin(channel, whole, *consumer)
        elif channel in self._incoming and kind in (HEADER, BODY):
            self._go_on(kind, channel, whole[FRAME_HEADER.size : -1])
        elif rest := self._for_pika(kind, channel, whole):
            self._pass_on(rest)

    def _for_pika(self, kind: int, channel: int, whole: bytes) -> bytes:
        """Return what of a frame pika gets: a message whose body is too long, without that."""
        if kind == HEADER:
            self._skipping.pop(channel, None)
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

    def _consumer_of(self, channel: int, method: bytes) -> tuple[OnDelivery, bool] | None:
        """Tell who takes the delivery that begins with this frame, if one does."""
        at = FRAME_HEADER.size
        if not method.startswith(BASIC_DELIVER, at):
            return None
        start = at + len(BASIC_DELIVER) + 1
        return self._consumers.get((channel, method[start : start + method[start - 1]]))

    def _begin(
        self,
        channel: int,
        method: bytes,
        on_delivery: OnDelivery,
        tell_exchange: bool,  # noqa: FBT001  # as `_consumer_of` has it
    ) -> None:
        """Take the first frame of a delivery, and remember what others like it look like."""
        self._layouts[beginning(method, 0)] = DeliveryLayout(
            channel, method, on_delivery, tells_exchange=tell_exchange
        )
        payload = method[FRAME_HEADER.size : -1]
        tag, redelivered = read_delivery(payload)
        exchange = read_exchange(payload) if tell_exchange else None
        self._incoming[channel] = _Incoming(tag, redelivered, on_delivery, exchange)

    def _go_on(self, kind: int, channel: int, payload: bytes) -> None:
        incoming = self._incoming[channel]
        if kind == HEADER:
            incoming.begin(payload)
        else:
            incoming.go_on(payload)
        if not incoming.missing:
            del self._incoming[channel]
            incoming.hand_over()
