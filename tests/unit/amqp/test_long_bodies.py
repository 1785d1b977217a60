"""Bodies that are too long: thrown away as they are read, so that nobody decides what they cost."""

from collections.abc import Iterator
from itertools import pairwise

import pika.frame
import pika.spec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from idalloc_client.amqp._io import _delivery_layout, _delivery_reader
from idalloc_client.amqp._io._delivery_reader import DeliveryReader
from idalloc_client.amqp._io._frames import MAX_BODY, TOO_LONG, Properties

LIMIT = 100
PIECE = 30


@pytest.fixture(autouse=True, scope="module")
def short_limit() -> Iterator[None]:
    """Call a body long that is so only here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_delivery_reader, "MAX_BODY", LIMIT)
        patch.setattr(_delivery_layout, "MAX_BODY", LIMIT)
        yield


def message(consumer: str, body: bytes, piece: int = PIECE) -> bytes:
    """Write the frames of a delivery."""
    deliver = pika.spec.Basic.Deliver(consumer, 7, False, "id.fleet", "key")  # noqa: FBT003
    pieces = [body[start : start + piece] for start in range(0, len(body), piece)]
    frames = [
        pika.frame.Method(1, deliver),
        pika.frame.Header(1, len(body), pika.spec.BasicProperties(user_id="u")),
        *(pika.frame.Body(1, piece) for piece in pieces),
    ]
    return b"".join(frame.marshal() for frame in frames)


class Reader:
    """One consumer's messages, and what pika is given."""

    def __init__(self, *, tell_exchange: bool = False) -> None:
        self.passed = b""
        self.bodies: list[bytes] = []
        self.properties: list[Properties] = []
        self.most = 0  # bytes of a body that were kept at any time
        self.reader = DeliveryReader(self._pass)
        self.reader.take(1, b"mine", self._take, tell_exchange=tell_exchange)

    def feed(self, stream: bytes, cuts: list[int]) -> None:
        """Feed the stream in pieces."""
        edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
        for start, end in pairwise(edges):
            if start < end:
                self.reader.feed(stream[start:end])
                kept = [one.body or () for one in self.reader._incoming.values()]
                self.most = max(self.most, *(sum(map(len, body)) for body in kept), 0)

    def _pass(self, data: bytes) -> None:
        self.passed += data

    def _take(self, _tag: int, _redelivered: bool, found: Properties, body: bytes) -> None:  # noqa: FBT001
        self.properties.append(found)
        self.bodies.append(body)


lengths = st.lists(st.sampled_from([0, 1, PIECE, LIMIT, LIMIT + 1, 10 * LIMIT]), max_size=5)
cuts = st.lists(st.integers(0, 5000), max_size=12)


@given(lengths, cuts, st.sampled_from([PIECE, 20 * LIMIT]))
def test_a_consumer_gets_a_stand_in_and_the_other_messages(
    sizes: list[int], cuts: list[int], piece: int
) -> None:
    """However the stream is cut, into frames too; of a long one nothing is kept."""
    reader = Reader()
    reader.feed(b"".join(message("mine", b"x" * size, piece) for size in sizes), cuts)
    assert reader.bodies == [b"x" * size if size <= LIMIT else TOO_LONG for size in sizes]
    assert all(found.user_id == b"u" for found in reader.properties)
    assert (reader.passed, reader.most <= LIMIT) == (b"", True)


def frames(consumer: str, size: int, channel: int = 1) -> list[bytes]:
    """Write the frames of a delivery, each by itself."""
    deliver = pika.spec.Basic.Deliver(consumer, 7, False, "", "key")  # noqa: FBT003
    return [
        pika.frame.Method(channel, deliver).marshal(),
        pika.frame.Header(channel, size, pika.spec.BasicProperties()).marshal(),
        *[pika.frame.Body(channel, b"x" * PIECE).marshal()] * (size // PIECE),
    ]


def test_only_the_bodies_of_its_own_channel_are_kept_from_pika() -> None:
    """Frames of another channel may stand between them."""
    reader = Reader()
    long, short = frames("other", 10 * PIECE), frames("other", 2 * PIECE, channel=2)
    reader.feed(b"".join(long[:3] + short + long[3:]), [])
    assert reader.passed == long[0] + frames("other", 0)[1] + b"".join(short)


@pytest.mark.parametrize("forgotten", [False, True])
def test_a_message_after_one_that_was_cut_off_is_whole(forgotten: bool) -> None:  # noqa: FBT001
    """Its channel ended in the middle of it, or its broker went on to the next message."""
    reader = Reader()
    reader.feed(b"".join(frames("other", 10 * PIECE)[:4]), [])
    if forgotten:
        reader.reader.forget(1)
        reader.passed = b""
        rest = frames("other", 2 * PIECE)[2:]  # pika says what it thinks of a body alone
    else:
        reader.passed = b""
        rest = frames("other", 2 * PIECE)
    reader.feed(b"".join(rest), [])
    assert reader.passed == b"".join(rest)


@given(lengths, cuts)
def test_pika_gets_such_a_message_without_its_body(sizes: list[int], cuts: list[int]) -> None:
    """It would put it together, whoever it is for."""
    reader = Reader()
    stream = b"".join(message("other", b"x" * size) for size in sizes)
    reader.feed(stream, cuts)
    expected = [message("other", b"x" * size if size <= LIMIT else b"") for size in sizes]
    assert reader.passed == b"".join(expected)
    assert reader.bodies == []


@given(st.sampled_from([0, 1, 10 * LIMIT]), cuts)
def test_a_consumer_may_ask_through_which_exchange_they_came(size: int, cuts: list[int]) -> None:
    """The broker says that, and no sender can."""
    asks, does_not = Reader(tell_exchange=True), Reader()
    for reader in (asks, does_not):
        reader.feed(message("mine", b"x" * size), cuts)
    assert [found.exchange for found in asks.properties + does_not.properties] == [
        b"id.fleet",
        None,
    ]


def test_the_stand_in_is_longer_than_anything_that_is_read() -> None:
    """Whoever looks at the length of a body refuses it."""
    assert len(TOO_LONG) > MAX_BODY
