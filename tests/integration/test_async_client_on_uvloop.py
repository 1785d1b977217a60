"""The tests of the asyncio client once more, each on uvloop."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
import uvloop

from tests.integration import test_async_client

# By name and not one by one: a test that is added there runs here too.
globals().update(
    {name: test for name, test in vars(test_async_client).items() if name.startswith("test_")}
)


def run_on_uvloop(main: Coroutine[Any, Any, Any]) -> Any:
    """Stand in for `asyncio.run`."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


@pytest.fixture(autouse=True)
def on_uvloop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each test uvloop where it asks for a loop."""
    monkeypatch.setattr(asyncio, "run", run_on_uvloop)
    monkeypatch.setattr(asyncio, "new_event_loop", uvloop.new_event_loop)


def test_the_loop_is_uvloop() -> None:
    """Else this file would test nothing new."""

    async def loop_of_this_test() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    assert isinstance(asyncio.run(loop_of_this_test()), uvloop.Loop)
    loop = asyncio.new_event_loop()
    loop.close()
    assert isinstance(loop, uvloop.Loop)
