"""A link beside a worker's own one: whoever has stopped it hears no more of it."""

from types import SimpleNamespace
from typing import Any

import pytest
from pika import ConnectionParameters

from idalloc_client.amqp._link import Link


class Handler:
    """Notes what it hears."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def on_ready(self, _channel: object) -> None:
        self.heard.append("ready")

    def on_lost(self, _reason: BaseException) -> None:
        self.heard.append("lost")

    def on_blocked(self, *, blocked: bool) -> None:
        self.heard.append(f"blocked {blocked}")


@pytest.mark.parametrize("aside", [True, False])
def test_a_link_that_was_stopped_says_nothing(aside: bool) -> None:  # noqa: FBT001
    """Its handler may serve another one by then; a worker's own link says that it is over."""
    handler = Handler()
    loop: Any = SimpleNamespace(call_later=lambda *_: None)
    link = Link([ConnectionParameters()], handler, loop)
    if aside:
        link = link.beside(handler, "(suspects)")
    connection: Any = SimpleNamespace(is_open=False, is_closed=False, is_closing=True)
    link._connection = connection
    link.begin_stop(lambda: None)
    link._tell_lost(ConnectionResetError())
    assert handler.heard == ([] if aside else ["lost"])
