"""The collector leaves a worker's tags alone, and still finds cycles when nobody waits."""

import gc
from collections.abc import Iterator

import pytest

from idalloc_client.amqp._io._channel import FastChannel, PikaChannel
from idalloc_worker.service import _garbage
from idalloc_worker.service._garbage import collect_if_due, collect_rarely, freeze_start


@pytest.fixture(autouse=True)
def _collector_as_it_was() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


class Cycle:
    """Seen by the collector only."""

    alive = 0

    def __init__(self) -> None:
        self.itself = self
        Cycle.alive += 1

    def __del__(self) -> None:
        Cycle.alive -= 1


def test_what_is_there_at_the_start_is_left_out() -> None:
    """It is frozen."""
    freeze_start()
    assert gc.get_freeze_count() > 10_000


def test_full_collections_are_rare_while_requests_leave_no_cycles() -> None:
    """With pika alone they do, and Python's own pace is right."""
    before = gc.get_threshold()
    collect_rarely(rarely=True)
    assert gc.get_threshold()[:2] == before[:2]
    assert gc.get_threshold()[2] > before[2]
    collect_rarely(rarely=False)
    assert gc.get_threshold() == before
    assert PikaChannel.leaves_cycles
    assert not FastChannel.leaves_cycles


def test_a_quiet_moment_is_used_when_one_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not each loss of a connection that flaps; but what those leave behind does not grow."""
    gc.collect()
    Cycle()
    monkeypatch.setattr(_garbage, "_DUE", 1_000_000)
    collect_if_due()
    assert Cycle.alive == 1
    monkeypatch.setattr(_garbage, "_DUE", 0)
    collect_if_due()
    assert Cycle.alive == 0
