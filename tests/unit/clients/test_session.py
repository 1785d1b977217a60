"""Whose connection a client uses: its own process's, of now."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from idalloc_client import IdClient
from idalloc_client._clients import _session
from idalloc_client._clients._session import LinkSession
from idalloc_client._memory import Process
from idalloc_client._rpc._restore_watch import RestoreWatch


class FakeRunning:
    """A connection and its thread, which answers at once."""

    def __init__(self, *_: object) -> None:
        self.alive = [True]
        self.queues: dict[str, object] = {}
        self.calls = 0

    def start(self) -> None:
        self.calls = 0

    def enter(self, _tag: str, _timeout: float, waiter: Any, *_: object) -> None:
        self.calls += 1
        waiter[0].set_result(7)


@pytest.mark.parametrize("count", [None, 3])
def test_a_child_leaves_its_parents_connection_alone(
    monkeypatch: pytest.MonkeyPatch, count: int | None
) -> None:
    """Two processes that wrote to one socket would garble it, and read each other's ids."""
    monkeypatch.setattr(_session, "_Running", FakeRunning)
    parent: Any = FakeRunning()
    client = LinkSession(IdClient("amqp://127.0.0.1:1/")._options)
    client._running = parent
    client.draw("order", count, 1.0)
    assert parent.calls == 1
    parent.alive[0] = False
    child: Any = SimpleNamespace(gone=True)
    client._process = child
    client.draw("order", count, 1.0)
    assert parent.calls == 1
    own: Any = client._running
    assert own is not parent
    assert own.calls == 1


def test_a_client_begins_anew_after_a_restore() -> None:
    """Once: replies that come over the connection that it had may be of before."""
    resets: list[BaseException] = []
    later: list[Callable[[], None]] = []
    link: Any = SimpleNamespace(
        stopping=False,
        call_later=lambda _delay, callback: later.append(callback),
        reset_connection=resets.append,
    )
    process = Process(lambda: 0.0)
    RestoreWatch(link, process).look()
    assert not resets
    process.restored()
    for _ in range(2):
        later.pop()()
    assert len(resets) == 1
