"""What a channel writes beside pika, and whom it has the reader give deliveries to."""

from types import SimpleNamespace
from typing import Any

import pika.frame
import pika.spec
import pytest
from pika.exceptions import DuplicateConsumerTag

from idalloc_client.amqp._io._channel import _MAX_KNOWN_KEYS, FastChannel, PikaChannel
from idalloc_client.amqp._io._delivery_reader import DeliveryReader
from idalloc_client.amqp._io._frames import FRAME_OVERHEAD, Envelope, Properties

FRAME_MAX = 4096
BODY_MAX = FRAME_MAX - FRAME_OVERHEAD
ENVELOPE = Envelope(Properties(b"application/json", type=b"reply"))


class Pika:
    """A channel of pika's, as far as it is asked."""

    def __init__(self) -> None:
        self.channel_number = 3
        self.is_open = True
        self.connection = SimpleNamespace(params=SimpleNamespace(frame_max=FRAME_MAX))
        self.refusal: Exception | None = None

    def basic_consume(self, *_: object, **__: object) -> None:
        if self.refusal is not None:
            raise self.refusal


class Bench:
    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.passed: list[bytes] = []
        self.pika = Pika()
        self.reader = DeliveryReader(self.passed.append)
        pika: Any = self.pika
        self.channel = FastChannel(pika, self.written.append, self.reader)

    def read(self) -> list[Any]:
        """Read what was written, frame by frame, as pika does; none is longer than is agreed."""
        data, frames = b"".join(self.written), []
        self.written.clear()
        while data:
            size, frame = pika.frame.decode_frame(data)
            assert frame is not None
            assert size <= FRAME_MAX
            frames.append(frame)
            data = data[size:]
        return frames

    def deliver(self, tag: str = "mine", number: int = 1) -> None:
        method = pika.spec.Basic.Deliver(tag, number, False, "", "key")  # noqa: FBT003
        for frame in (
            pika.frame.Method(3, method),
            pika.frame.Header(3, 1, pika.spec.BasicProperties()),
            pika.frame.Body(3, b"x"),
        ):
            self.reader.feed(frame.marshal())


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.mark.parametrize("size", [0, 1, BODY_MAX - 1, BODY_MAX, BODY_MAX + 1, 3 * BODY_MAX])
@pytest.mark.parametrize("reply", [False, True])
def test_a_body_of_any_length_fits_its_frames(bench: Bench, size: int, reply: bool) -> None:  # noqa: FBT001
    """And has no frame if it is empty: the broker would take that for an error."""
    if reply:
        bench.channel.reply(b"queue", ENVELOPE, b"7", b"x" * size)
    else:
        bench.channel.publish(b"queue", Properties(correlation_id=b"7"), b"x" * size)
    method, header, *bodies = bench.read()
    assert method.method.routing_key == "queue"
    assert (header.body_size, header.properties.correlation_id) == (size, "7")
    assert b"".join(body.fragment for body in bodies) == b"x" * size
    assert len(bodies) == -(-size // BODY_MAX)
    assert {frame.channel_number for frame in (method, header, *bodies)} == {3}


def test_whether_a_message_may_be_lost_is_said_of_each(bench: Bench) -> None:
    """The same key goes with and without, whichever came first."""
    for mandatory in (True, False, True, False):
        bench.channel.publish(b"queue", Properties(), b"", mandatory=mandatory)
    methods = [frame.method for frame in bench.read() if isinstance(frame, pika.frame.Method)]
    assert [method.mandatory for method in methods] == [True, False, True, False]


def test_where_a_message_goes(bench: Bench) -> None:
    """To the channel's exchange, or another one that is named."""
    bench.channel.exchange = b"requests"
    bench.channel.publish(b"key", Properties(), b"")
    bench.channel.publish(b"key", Properties(), b"", exchange=b"")
    methods = [frame.method for frame in bench.read() if isinstance(frame, pika.frame.Method)]
    assert [method.exchange for method in methods] == ["requests", ""]


def test_keys_are_kept_up_to_a_number(bench: Bench) -> None:
    """Each caller has a reply address of its own, and there may be any number of them."""
    for number in range(3 * _MAX_KNOWN_KEYS):
        bench.channel.publish(b"key-%d" % number, Properties(), b"")
    assert sum(map(len, bench.channel._methods)) == _MAX_KNOWN_KEYS
    assert len(bench.read()) == 6 * _MAX_KNOWN_KEYS


def test_deliveries_come_until_the_channel_ends(bench: Bench) -> None:
    """Then its number may be that of a channel of pika's."""
    came: list[int] = []
    bench.channel.consume("queue", "mine", lambda tag, *_: came.append(tag))
    bench.deliver(number=1)
    bench.channel.forget()
    bench.deliver(number=2)
    assert came == [1]
    assert len(bench.passed) == 3


def test_a_consumer_that_pika_refuses_changes_nothing(bench: Bench) -> None:
    """The one that has its tag goes on; and where there is none, pika is given the message."""
    came: list[str] = []
    bench.channel.consume("queue", "mine", lambda *_: came.append("first"))
    bench.pika.refusal = DuplicateConsumerTag("mine")
    for tag in ("mine", "other"):
        with pytest.raises(DuplicateConsumerTag):
            bench.channel.consume("queue", tag, lambda *_: came.append("refused"))
    bench.deliver("mine")
    bench.deliver("other")
    assert came == ["first"]
    assert len(bench.passed) == 3


@pytest.mark.parametrize("kind", ["fast", "pika"])
def test_a_consumer_has_a_tag(bench: Bench, kind: str) -> None:
    """One that the broker chooses is known too late: its messages would be lost."""
    pika: Any = bench.pika
    channel = bench.channel if kind == "fast" else PikaChannel(pika)
    with pytest.raises(ValueError, match="tag"):
        channel.consume("queue", "", lambda *_: None)
