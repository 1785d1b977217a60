"""A whole worker on a link that is none: what it does before it gives its channel up."""

from types import SimpleNamespace
from typing import Any

import pytest

from idalloc_worker.counters._counters import Counters
from idalloc_worker.engine._engine import Engine, EngineLimits
from idalloc_worker.ordered._ordered_engine import OrderedEngine
from idalloc_worker.service._service import WorkerService

CHANNEL: Any = SimpleNamespace(is_open=True)


@pytest.mark.parametrize("why", ["cancelled", "more channels"])
def test_what_was_answered_is_acknowledged_before_a_channel_is_given_up(why: str) -> None:
    """Held back, it would come again, and ids would be wasted."""
    done: list[str] = []
    link = SimpleNamespace(
        call_later=lambda *_: None,
        call_soon=lambda _callback: None,
        reset_channel=lambda _reason: done.append("given up"),
    )
    thread: Any = SimpleNamespace(post=lambda _callback: None, link=link)
    session: Any = SimpleNamespace(flush=lambda: done.append("acknowledged"))
    service = WorkerService(
        *(Engine(EngineLimits()), OrderedEngine(EngineLimits()), lambda _handler: thread, thread),
        name="worker",
        prefetch=100,
        counters=Counters(),
    )
    service._session = session
    if why == "cancelled":
        service._on_cancelled_by_broker(CHANNEL)
    else:
        service._try_all(session)
    assert done == ["acknowledged", "given up"]
