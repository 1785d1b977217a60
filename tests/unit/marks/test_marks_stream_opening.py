"""How the stream of marks is opened, with a broker that does what the test says."""

from collections.abc import Callable
from typing import Any

import pytest
from pika.exceptions import ChannelClosedByBroker

from idalloc_worker.marks._marks_stream import MarksStream
from tests.vouched import gate

DOWN = ChannelClosedByBroker(404, "home node 'a' of durable queue 'x' is down or inaccessible")
OTHER_TYPE = ChannelClosedByBroker(406, "invalid arg 'x-stream-offset' for queue 'x'")
MISSING = ChannelClosedByBroker(404, "no queue 'x' in vhost '/'")


class FakeChannel:
    """Takes whatever is asked for."""

    is_open = True

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.asked: list[str] = []

    def add_on_close_callback(self, callback: Callable[..., None]) -> None:
        self.on_closed = callback

    def basic_consume(self, *_: object, callback: Callable[[Any], None], **__: object) -> None:
        self.on_consuming = callback

    def queue_bind(self, *_: object, callback: Callable[[Any], None]) -> None:
        self.asked.append("queue_bind")
        self.on_bound = callback

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_, **__: self.asked.append(name)

    def end(self, reason: ChannelClosedByBroker) -> None:
        self.is_open = False
        self.on_closed(self, reason)


class Bench:
    """The stream's handler, and its connection."""

    is_open = True

    def __init__(self) -> None:
        self.channels: list[FakeChannel] = []
        self.later: list[tuple[float, Callable[[], None]]] = []
        self.opened = 0
        self.refusals: list[str] = []
        handler: Any = self
        self.stream = MarksStream(handler, self.call_later, app_id="w", gate=gate())
        self.stream.open(self)

    def call_later(self, delay: float, callback: Callable[[], None]) -> Any:
        self.later.append((delay, callback))

    def channel(self, on_open_callback: Callable[[Any], None]) -> None:
        self.channels.append(FakeChannel(self))
        on_open_callback(self.channels[-1])

    def on_stream_open(self) -> None:
        self.opened += 1

    def on_stream_refused(self, reason: str) -> None:
        self.refusals.append(reason)

    def pause(self) -> None:
        """Let the next short pause end."""
        due = min(self.later, key=lambda timer: timer[0])
        self.later.remove(due)
        due[1]()


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_stream_that_is_not_up_yet_is_waited_for(bench: Bench) -> None:
    """A broker takes connections before its streams are there; to go on would be to forget."""
    for _ in range(3):
        bench.channels[-1].end(DOWN)
        bench.pause()
    assert len(bench.channels) == 4
    assert "queue_declare" in bench.channels[-1].asked
    bench.channels[-1].on_consuming(None)
    bench.channels[-1].on_bound(None)
    assert (bench.opened, bench.refusals) == (1, [])


def test_a_stream_that_stays_down_is_done_without(bench: Bench) -> None:
    """Its node may be gone for good."""
    for _ in range(20):
        bench.channels[-1].end(DOWN)
        assert bench.refusals == []
        bench.pause()
    for _ in range(3):
        bench.channels[-1].end(DOWN)
    assert len(bench.refusals) == 1


def test_it_is_not_waited_for_on_a_connection_that_is_gone(bench: Bench) -> None:
    bench.channels[-1].end(DOWN)
    bench.stream.close()
    bench.pause()
    assert len(bench.channels) == 1


def test_where_it_is_missing_less_and_less_is_asked_for(bench: Bench) -> None:
    for _ in range(2):
        bench.channels[-1].on_consuming(None)
        bench.channels[-1].end(MISSING)
    bench.channels[-1].on_consuming(None)
    assert [("queue_declare" in c.asked, "queue_bind" in c.asked) for c in bench.channels] == [
        (True, True),
        (False, True),
        (False, False),
    ]
    assert (bench.opened, bench.refusals) == (1, [])


def test_what_is_no_stream_is_not_bound(bench: Bench) -> None:
    """What workers say would pile up in it, and nobody would ever read it."""
    for _ in range(3):
        bench.channels[-1].end(OTHER_TYPE)
    assert len(bench.refusals) == 1
    assert not any("queue_bind" in channel.asked for channel in bench.channels)
