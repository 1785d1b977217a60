"""One stack for many processes: started for the first that asks, ended once, at the end."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import Client

import pytest

from devstack import DevStackError, Stack, shared_stack, stack_on_demand
from devstack.servers import _shared

STACK = Stack("amqp://a", "mysql://c", "http://b", "fake")


class Starts:
    """How often a stack was started and ended; `error` is why it cannot be."""

    def __init__(self) -> None:
        self.started = self.ended = 0
        self.error: Exception | None = None

    @contextmanager
    def running_stack(self) -> Iterator[Stack]:
        self.started += 1
        if self.error:
            raise self.error
        yield STACK
        self.ended += 1


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> Starts:
    starts = Starts()
    monkeypatch.setattr(_shared, "running_stack", starts.running_stack)
    return starts


def test_who_asks_first_has_it_started(starts: Starts) -> None:
    """Many at a time get the same one, which ends after all of them."""
    with stack_on_demand() as address:
        assert starts.started == 0
        with ThreadPoolExecutor(8) as callers:
            assert list(callers.map(shared_stack, [address] * 20)) == [STACK] * 20
        assert (starts.started, starts.ended) == (1, 0)
    assert (starts.started, starts.ended) == (1, 1)


def test_nothing_is_started_for_nobody(starts: Starts) -> None:
    """A run of unit tests needs no servers."""
    with stack_on_demand():
        pass
    assert starts.started == 0


@pytest.mark.parametrize("error", [DevStackError("no room"), TimeoutError("no room")])
def test_everybody_is_told_why_there_is_none(starts: Starts, error: Exception) -> None:
    """It is not tried again, and nobody waits for it."""
    starts.error = error
    with stack_on_demand() as address:
        for _ in range(2):
            with pytest.raises(DevStackError, match="no room"):
                shared_stack(address)
    assert starts.started == 1


def test_one_that_dies_while_it_asks_is_no_harm(starts: Starts) -> None:
    """The others are served."""
    with stack_on_demand() as address:
        Client(address).close()
        assert shared_stack(address) == STACK
    assert starts.ended == 1
