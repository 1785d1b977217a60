"""An I/O thread that turns shows it, and one that is stuck does not."""

import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from idalloc_client.amqp import LinkThread, connection_parameters
from idalloc_worker import _vitals
from idalloc_worker._vitals import Vitals
from idalloc_worker.counters._counters import Counters
from idalloc_worker.process._notifier import Notifier
from idalloc_worker.process._pulse import Place, Pulse
from idalloc_worker.tags._errors import StoreReason, StoreUnavailableError
from tests.waiting import wait_until

NOWHERE = "amqp://guest:guest@127.0.0.1:1/"


class Bench:
    """A pulse whose timers are run by hand."""

    def __init__(self) -> None:
        self.vitals, self.counters = Vitals.make(1), Counters()
        self.timers: list[Any] = []
        place = Place(1, self.vitals, Notifier.silent(self.vitals))
        Pulse(place, self.counters, lambda _delay, beat: self.timers.append(beat)).beat()

    def problems(self) -> list[str]:
        self.timers.pop()()
        assert not self.vitals.problems("live")
        return self.vitals.problems("ready")


def test_what_a_process_counts_is_what_it_shows() -> None:
    """Connected, consuming, and the database in use; none of it is a reason to restart."""
    bench = Bench()
    counters = bench.counters
    assert bench.problems() == ["process 1: no connection to the broker"]
    counters.connected_again()
    assert bench.problems() == ["process 1: connected to the broker, but not consuming yet"]
    counters.consuming = True
    assert bench.problems() == ["process 1: the database has not been used yet"]
    counters.database_used({})
    assert not bench.problems()
    counters.database_used(StoreUnavailableError(StoreReason.UNREACHABLE, "no"))
    assert "could not be used" in bench.problems()[0]
    counters.database_used({})
    assert not bench.problems()
    counters.disconnected()
    assert bench.problems() == ["process 1: no connection to the broker"]
    counters.connected_again()
    assert "not consuming yet" in bench.problems()[0]


@pytest.fixture
def thread() -> Iterator[LinkThread]:
    handler: Any = SimpleNamespace(on_lost=lambda _reason: None)
    it = LinkThread(connection_parameters(NOWHERE, "test"), handler, "test-io")
    it.start()
    yield it
    assert it.stop(60)


def test_a_loop_that_is_stuck_stops_the_pulse(
    thread: LinkThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real one, without a broker, stuck in a callback until it is let go."""
    monkeypatch.setattr(_vitals, "LIVE_WITHIN", 2.0)
    vitals = Vitals.make(1)
    place = Place(1, vitals, Notifier.silent(vitals))
    thread.post(Pulse(place, Counters(), thread.link.call_later).beat)
    go_on = threading.Event()
    wait_until(lambda: not vitals.problems("live"))

    def get_stuck() -> None:
        go_on.wait(120)

    thread.post(get_stuck)
    wait_until(lambda: "has not run for" in str(vitals.problems("live")))
    go_on.set()
    wait_until(lambda: not vitals.problems("live"))
