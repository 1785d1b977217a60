"""A worker's queue for callers at its node: made where it is wanted, left without a loss."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from pika.exceptions import ChannelClosedByBroker, ChannelWrongStateError

from idalloc_worker.service._local_queue import LocalQueue

RELEASE_4 = {"product": "RabbitMQ", "version": "4.3.0"}


class FakeChannel:
    """Notes what it is asked, and keeps the callbacks."""

    def __init__(self, connection: "FakeConnection") -> None:
        self.connection = connection
        self.is_open = True
        self.closing = False
        self.asked: list[str] = []
        self.answers: list[Callable[[Any], None]] = []
        self.on_closed: list[Callable[..., None]] = []

    def add_on_close_callback(self, callback: Callable[..., None]) -> None:
        self.on_closed.append(callback)

    def add_on_cancel_callback(self, _callback: Callable[..., None]) -> None: ...

    def exchange_declare(self, name: str, *, passive: bool) -> None:
        assert passive
        self.asked.append(f"exchange {name}")

    def queue_declare(
        self,
        queue: str,
        *,
        exclusive: bool = False,
        passive: bool = False,
        arguments: object = None,
        callback: Callable[[Any], None] | None = None,
    ) -> None:
        del arguments
        self._ask("own" if exclusive else "count", callback)
        assert queue.startswith("id.local.")
        assert exclusive is not passive

    def queue_bind(
        self, _queue: str, _exchange: str, _key: str, callback: Callable[[Any], None]
    ) -> None:
        self._ask("bind", callback)

    def queue_unbind(
        self, _queue: str, _exchange: str, _key: str, callback: Callable[[Any], None]
    ) -> None:
        self._ask("unbind", callback)

    def close(self) -> None:
        self.is_open = False

    def end(self, code: int) -> None:
        self.is_open = False
        for callback in self.on_closed:
            callback(self, ChannelClosedByBroker(code, "so it is"))

    def answer(self, messages: int = 0) -> None:
        frame = SimpleNamespace(method=SimpleNamespace(message_count=messages))
        self.answers.pop(0)(frame)

    def _ask(self, what: str, callback: Callable[[Any], None] | None) -> None:
        if self.closing:
            raise ChannelWrongStateError
        self.asked.append(what)
        if callback is not None:
            self.answers.append(callback)


class FakeConnection:
    is_open = True

    def __init__(self, server_properties: dict[str, str] | None = None) -> None:
        self.server_properties = server_properties or RELEASE_4
        self.channels: list[FakeChannel] = []

    def channel(self, *, on_open_callback: Callable[[FakeChannel], None]) -> None:
        self.channels.append(FakeChannel(self))
        on_open_callback(self.channels[-1])


class Bench:
    def __init__(self) -> None:
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.consumed: list[str] = []
        self.left = 0
        self.queue = LocalQueue(lambda delay, callback: self.timers.append((delay, callback)))

    def begin(self, connection: FakeConnection | None = None) -> FakeConnection:
        connection = connection or FakeConnection()
        pika: Any = connection
        self.queue.begin(pika, self.consumed.append)
        return connection

    def leave(self) -> None:
        self.queue.leave(self._on_left)

    def _on_left(self) -> None:
        self.left += 1


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.mark.parametrize("version", ["3.10.8", "3.13.7"])
def test_an_older_broker_is_not_asked(bench: Bench, version: str) -> None:
    """It has no such exchange, and would log an error for each worker."""
    connection = bench.begin(FakeConnection({"product": "RabbitMQ", "version": version}))
    assert connection.channels == []


def test_it_is_consumed_once_it_is_bound(bench: Bench) -> None:
    """On a channel of its own until then: what the broker refuses costs the others nothing."""
    (channel,) = bench.begin().channels
    assert channel.asked == ["exchange id.local", "own", "bind"]
    assert bench.consumed == []
    channel.answer()
    assert len(bench.consumed) == 1


@pytest.mark.parametrize(("code", "warned"), [(404, False), (403, True)])
def test_without_the_exchange_or_a_right_it_is_done_without(
    bench: Bench,
    caplog: pytest.LogCaptureFixture,
    code: int,
    warned: bool,  # noqa: FBT001
) -> None:
    """Until the next connection; only what an operator did not mean is told."""
    connection = bench.begin()
    connection.channels[0].end(code)
    assert (bench.consumed, bench.timers) == ([], [])
    assert ("id.local" in caplog.text) is warned
    bench.begin(connection)
    assert len(connection.channels) == 2


def test_a_worker_that_leaves_takes_what_has_come(bench: Bench) -> None:
    """Nobody else can: first nothing more is sent there, then what is there is delivered."""
    (channel,) = bench.begin().channels
    channel.answer()
    bench.leave()
    assert channel.asked[3:] == ["unbind"]
    channel.answer()
    channel.answer(messages=3)
    assert bench.left == 0
    _, look = bench.timers[-1]
    look()
    channel.answer(messages=0)
    assert (channel.asked[3:], bench.left) == (["unbind", "count", "count"], 1)


def test_leaving_ends_whatever_happens(bench: Bench) -> None:
    """There is no queue; the channel is lost, or closing; the broker is silent: all once."""
    bench.leave()
    assert bench.left == 1
    for closing in (False, True):
        (channel,) = bench.begin().channels
        channel.answer()
        channel.closing = closing
        bench.leave()
        channel.end(404)
        for _, callback in bench.timers:
            callback()
        assert bench.left == 2 + closing
