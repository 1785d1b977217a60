"""The short way for frequent frames: the same bytes as pika writes and reads, whatever the cuts."""

import contextlib
import struct
from itertools import pairwise
from typing import Any

import pika.frame
import pika.spec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pika.exceptions import (
    AMQPError,
    BodyTooLongError,
    InvalidFrameError,
    UnexpectedFrameError,
)

from idalloc_client.amqp._io._delivery_reader import ConsumerError, DeliveryReader
from idalloc_client.amqp._io._frames import (
    FRAME_HEADER,
    FRAME_OVERHEAD,
    METHOD,
    Envelope,
    Properties,
    ack,
    content,
    frame,
    publish_method,
    read_content_header,
    short_string,
)

_BODY_MAX = 4096 - FRAME_OVERHEAD  # of the smallest frames that AMQP allows

Texts = dict[str, str | None]

short = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)
maybe = st.none() | short
bodies = st.binary(max_size=350).map(lambda piece: piece * 40)
properties: st.SearchStrategy[Texts] = st.builds(
    dict,
    content_type=maybe,
    correlation_id=maybe,
    reply_to=maybe,
    expiration=maybe,
    type=maybe,
    user_id=maybe,
    app_id=maybe,
)


def ours(texts: Texts, headers: dict[str, str] | None = None) -> Properties:
    encoded = {key: None if value is None else value.encode() for key, value in texts.items()}
    return Properties(**encoded, headers=headers)


def pikas(channel: int, method: Any, texts: Texts, body: bytes, **more: object) -> bytes:
    spec = pika.spec.BasicProperties(**texts, delivery_mode=1, **more)
    frames = [
        pika.frame.Method(channel, method).marshal(),
        pika.frame.Header(channel, len(body), spec).marshal(),
        *(
            pika.frame.Body(channel, body[start : start + _BODY_MAX]).marshal()
            for start in range(0, len(body), _BODY_MAX)
        ),
    ]
    return b"".join(frames)


@given(
    st.integers(1, 65535),
    short,
    st.booleans(),
    properties,
    st.dictionaries(short, short, max_size=3),
    bodies,
)
def test_a_message_is_written_as_pika_writes_it(  # noqa: PLR0917
    channel: int,
    routing_key: str,
    mandatory: bool,  # noqa: FBT001
    texts: Texts,
    headers: dict[str, str],
    body: bytes,
) -> None:
    """Method, header and body frames, byte for byte."""
    publish = pika.spec.Basic.Publish(exchange="", routing_key=routing_key, mandatory=mandatory)
    more = {"headers": headers} if headers else {}
    written = publish_method(channel, routing_key.encode(), mandatory=mandatory) + content(
        channel, ours(texts, headers), body, _BODY_MAX
    )
    assert written == pikas(channel, publish, texts, body, **more)


@given(st.integers(1, 65535), st.none() | short, maybe, maybe, bodies)
def test_a_reply_is_written_like_any_message(
    channel: int, correlation_id: str | None, kind: str | None, app: str | None, body: bytes
) -> None:
    """What is written once for all replies leads to the same bytes."""
    texts: Texts = {"content_type": "application/json", "type": kind, "app_id": app}
    envelope = Envelope(ours(texts))
    one = ours({**texts, "correlation_id": correlation_id})
    body = body or b"x"
    written = envelope.content(channel, one.correlation_id, body)
    assert written == content(channel, one, body, 1_000_000)


@pytest.mark.parametrize(
    "single", [Properties(), Properties(b"x", correlation_id=b"1"), Properties(b"x", reply_to=b"q")]
)
def test_an_envelope_has_nothing_of_a_single_message(single: Properties) -> None:
    """Else every reply would carry it."""
    with pytest.raises(ValueError, match="envelope"):
        Envelope(single)


@given(st.integers(1, 65535), st.integers(1, 2**63), st.booleans())
def test_an_acknowledgement_is_written_as_pika_writes_it(
    channel: int,
    tag: int,
    multiple: bool,  # noqa: FBT001
) -> None:
    """Byte for byte."""
    method = pika.frame.Method(channel, pika.spec.Basic.Ack(tag, multiple))
    assert ack(channel, tag, multiple=multiple) == method.marshal()


def test_a_string_that_is_too_long_is_refused() -> None:
    """Its length has one byte."""
    with pytest.raises(ValueError, match="255"):
        short_string(b"x" * 256)


class Reader:
    """A delivery reader with one consumer, and what it made of the stream."""

    def __init__(self) -> None:
        self.passed = b""
        self.taken: list[tuple[int, bool, Properties, bytes]] = []
        self.reader = DeliveryReader(self._pass)
        self.reader.take(1, b"mine", self._take)

    def feed(self, stream: bytes, cuts: list[int]) -> None:
        """Feed the stream in pieces."""
        edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
        for start, end in pairwise(edges):
            if start < end:
                self.reader.feed(stream[start:end])

    def _pass(self, data: bytes) -> None:
        self.passed += data

    def _take(
        self,
        tag: int,
        redelivered: bool,  # noqa: FBT001
        found: Properties,
        body: bytes,
    ) -> None:
        self.taken.append((tag, redelivered, found, body))


def table_of(headers: dict[str, object]) -> bytes:
    pieces: list[bytes] = []
    pika.data.encode_table(pieces, headers)
    return b"".join(pieces)


message = st.tuples(
    st.integers(1, 2),
    st.sampled_from(["mine", "other"]),
    st.booleans(),
    properties,
    st.fixed_dictionaries({}, optional={"a": st.integers(0, 9), "b": short}),
    bodies,
)


@given(st.lists(message, max_size=6), st.lists(st.integers(0, 5000), max_size=12))
def test_deliveries_are_taken_and_the_rest_is_passed_on(
    messages: list[tuple[int, str, bool, Texts, dict[str, object], bytes]], cuts: list[int]
) -> None:
    """However the stream is cut, each message of the consumer arrives, and nothing else is gone."""
    stream, passed, expected = b"", b"", []
    for number, (channel, tag, redelivered, texts, headers, body) in enumerate(messages, 1):
        deliver = pika.spec.Basic.Deliver(tag, number, redelivered, "", "key")
        more = {"priority": 3, "timestamp": 5, "message_id": "m", "content_encoding": "e"}
        frames = pikas(channel, deliver, texts, body, headers=headers, **more)
        heartbeat = pika.frame.Heartbeat().marshal()
        stream += heartbeat + frames
        passed += heartbeat
        if (channel, tag) == (1, "mine"):
            found = ours(texts | {"message_id": "m"})
            found.table = table_of(headers)
            expected.append((number, redelivered, found, body))
        else:
            passed += frames
    reader = Reader()
    reader.feed(stream, cuts)
    assert reader.taken == expected
    assert reader.passed == passed


def test_messages_of_two_channels_may_interleave() -> None:
    """AMQP keeps the frames of one channel together, and no more than that."""
    reader = Reader()
    reader.reader.take(2, b"mine", reader._take)
    frames = {
        channel: [
            pika.frame.Method(
                channel,
                pika.spec.Basic.Deliver(
                    "mine", channel, redelivered=False, exchange="", routing_key="k"
                ),
            ).marshal(),
            pika.frame.Header(channel, 2, pika.spec.BasicProperties()).marshal(),
            pika.frame.Body(channel, b"%d%d" % (channel, channel)).marshal(),
        ]
        for channel in (1, 2)
    }
    stream = b"".join(one + other for one, other in zip(frames[1], frames[2], strict=True))
    reader.feed(stream, [])
    assert [(tag, body) for tag, _, _, body in reader.taken] == [(1, b"11"), (2, b"22")]
    assert reader.passed == b""


def delivery(tag: int = 1, body: bytes = b"x", *, exchange: str = "") -> bytes:
    """Write the frames of a message to the consumer."""
    method = pika.spec.Basic.Deliver("mine", tag, False, exchange, "key")  # noqa: FBT003
    return pikas(1, method, {}, body)


@pytest.mark.parametrize("before", [31, None], ids=["its first frame", "messages"])
def test_a_channel_that_ended_is_left_to_pika(before: int | None) -> None:
    """Its number may be used again, by a consumer of the same name."""
    reader, stream = Reader(), delivery()
    reader.reader.feed((stream + stream)[:before])
    reader.taken.clear()
    reader.reader.forget(1)
    assert not reader.passed
    reader.feed(stream, [])
    assert not reader.taken
    assert reader.passed == stream


def test_a_consumer_that_is_taken_anew_gets_what_follows() -> None:
    """By whoever takes it then, and with what that one wants to know."""
    before, after = Reader(), Reader()
    before.feed(delivery(1) + delivery(2), [])
    before.reader.take(1, b"mine", after._take, tell_exchange=True)
    before.feed(delivery(3, exchange="one") + delivery(4, exchange="two"), [])
    assert [tag for tag, *_ in before.taken] == [1, 2]
    assert [(tag, found.exchange) for tag, _, found, _ in after.taken] == [(3, b"one"), (4, b"two")]


@given(st.integers(0, 400), st.integers(0, 255))
def test_a_message_is_read_as_if_it_were_the_first(place: int, other: int) -> None:
    """With any byte changed, a message is what it is as the first of its kind."""
    reader, first = Reader(), delivery(1)
    odd = bytearray(delivery(2))
    odd[place % len(odd)] = other
    alone = Reader()
    with contextlib.suppress(struct.error, AMQPError):
        alone.feed(bytes(odd), [])
    with contextlib.suppress(struct.error, AMQPError):
        reader.feed(first + bytes(odd), [])
    assert reader.taken[1:] == alone.taken
    assert reader.passed == alone.passed


@pytest.mark.parametrize("cut", range(9))
def test_the_brokers_protocol_header_is_passed_on(cut: int) -> None:
    """It is no frame: the broker says which version it speaks, and hangs up."""
    passed: list[bytes] = []
    reader = DeliveryReader(passed.append)
    header = b"AMQP\0\0\x09\x01"
    reader.feed(header[:cut])
    reader.feed(header[cut:])
    assert [piece for piece in passed if piece] == [header]


def pieces(number: int, channel: int, tag: str, size: int, *bodies: bytes) -> list[bytes]:
    """Write a delivery's frames; its header says `size` bytes."""
    method = pika.spec.Basic.Deliver(tag, number, False, "", "key")  # noqa: FBT003
    return [
        pika.frame.Method(channel, method).marshal(),
        pika.frame.Header(channel, size, pika.spec.BasicProperties()).marshal(),
        *(pika.frame.Body(channel, body).marshal() for body in bodies),
    ]


@pytest.mark.parametrize("known", [False, True], ids=["the first of its kind", "a later one"])
@pytest.mark.parametrize(
    ("broken", "error"),
    [
        (pieces(2, 1, "mine", 2, b"12345"), BodyTooLongError),
        (pieces(2, 1, "mine", 2, b"1", b"23"), BodyTooLongError),
        (pieces(2, 1, "mine", 1, b"1")[::2], UnexpectedFrameError),
        ([delivery(2)[:-1] + b"x"], InvalidFrameError),
        ([pika.frame.Heartbeat().marshal()[:-1] + b"x"], InvalidFrameError),
    ],
    ids=["body", "second body", "no header", "end", "end of pika's"],
)
def test_what_is_no_amqp_ends_the_connection(
    broken: list[bytes],
    error: type[Exception],
    known: bool,  # noqa: FBT001
) -> None:
    """As with pika: nothing that follows can be trusted, and nothing of it is delivered."""
    reader = Reader()
    if known:
        reader.feed(delivery(1), [])
    with pytest.raises(error):
        reader.feed(b"".join(broken), [])
    assert [tag for tag, *_ in reader.taken] == [1] * known


def test_what_a_consumer_raises_is_told_as_its_own() -> None:
    """It says nothing about what was read: as the first of its kind, and as a later one."""

    def fail(*_: object) -> None:
        raise TypeError("a bug")

    reader = DeliveryReader(lambda _: None)
    reader.take(1, b"mine", fail)
    for number in (1, 2):
        with pytest.raises(ConsumerError) as raised:
            reader.feed(delivery(number))
        assert isinstance(raised.value.cause, TypeError)


def test_other_channels_keep_their_consumers_when_one_ends() -> None:
    reader = Reader()
    reader.reader.take(2, b"mine", reader._take)
    reader.reader.forget(1)
    reader.feed(b"".join(pieces(5, 2, "mine", 1, b"x") + pieces(6, 1, "mine", 1, b"y")), [])
    assert [tag for tag, *_ in reader.taken] == [5]
    assert reader.passed == b"".join(pieces(6, 1, "mine", 1, b"y"))


def test_only_who_asks_is_told_the_exchange() -> None:
    """Not another consumer of the channel, nor who has its number, and its tag, later."""
    reader, other = Reader(), Reader()
    reader.reader.take(1, b"mine", reader._take, tell_exchange=True)
    reader.reader.take(1, b"other", other._take)
    reader.feed(delivery(1, exchange="one") + b"".join(pieces(2, 1, "other", 1, b"x")), [])
    assert [found.exchange for _, _, found, _ in reader.taken] == [b"one"]
    assert [found.exchange for _, _, found, _ in other.taken] == [None]
    reader.reader.forget(1)
    reader.reader.take(1, b"mine", reader._take)
    reader.feed(delivery(3, exchange="three"), [])
    assert reader.taken[-1][2].exchange is None


@given(st.binary(max_size=60), st.integers(0, 0xFFFF))
def test_properties_that_are_no_properties_do_no_harm(rubbish: bytes, flags: int) -> None:
    """The broker hands on what a publisher wrote: the message counts as one without properties."""
    payload = b"\x00\x3c\x00\x00" + (7).to_bytes(8, "big") + flags.to_bytes(2, "big") + rubbish
    size, found = read_content_header(payload)
    assert size == 7
    assert isinstance(found, Properties)


@pytest.mark.parametrize(
    ("flags", "values"),
    [
        (0x8001, b"\x01x\0\0"),  # more flags follow
        (0x8000, b"\x05ab"),
        (0x2000, b"\0\0\0\x09ab"),
        (0x0040, b"1234"),
    ],
    ids=["more flags", "string", "table", "timestamp"],
)
def test_properties_that_end_beyond_their_frame_are_none(flags: int, values: bytes) -> None:
    payload = b"\x00\x3c\x00\x00" + bytes(8) + flags.to_bytes(2, "big") + values
    assert read_content_header(payload) == (0, Properties())


def test_a_message_without_a_body_arrives() -> None:
    """There is no body frame to wait for."""
    reader = Reader()
    reader.feed(
        pikas(
            1,
            pika.spec.Basic.Deliver("mine", 1, redelivered=True, exchange="", routing_key="key"),
            {},
            b"",
        ),
        [],
    )
    assert [(tag, body) for tag, _, _, body in reader.taken] == [(1, b"")]


def test_frames_have_the_form_of_the_specification() -> None:
    """Type, channel, size, payload, end octet."""
    assert frame(METHOD, 258, b"ab") == b"\x01\x01\x02\x00\x00\x00\x02ab\xce"
    assert FRAME_HEADER.size == 7


@pytest.mark.parametrize(
    "odd",
    [
        Properties(headers={"baggage": "x" * 5000}),
        Properties(headers={"k" * 256: "v"}),
        Properties(headers={"tracestate": "\udcff"}),
        Properties(user_id=b"u" * 256),
    ],
    ids=["frame", "name", "no text", "user"],
)
def test_properties_that_cannot_travel_are_refused(odd: Properties) -> None:
    """The broker would end the connection over a header that is larger than a frame."""
    with pytest.raises(ValueError, match=r"bytes|codec"):
        content(1, odd, b"{}", _BODY_MAX)
