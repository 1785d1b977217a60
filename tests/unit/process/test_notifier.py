"""What systemd is told, and when."""

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from idalloc_worker._vitals import CONNECTED, CONSUMING, DATABASE, Vitals
from idalloc_worker.process._notifier import Notifier

WELL = CONNECTED | CONSUMING | DATABASE


class Clock:
    def __init__(self, monotonic: Callable[[], float]) -> None:
        self.monotonic = monotonic


class Listener:
    def __init__(self, address: str) -> None:
        kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK
        self.socket = socket.socket(socket.AF_UNIX, kind)
        self.socket.bind(address)

    def heard(self) -> list[str]:
        lines: list[str] = []
        while True:
            try:
                lines += self.socket.recv(4096).decode().splitlines()
            except BlockingIOError:
                return lines


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Listener]:
    it = Listener(str(tmp_path / "notify"))
    yield it
    it.socket.close()


@pytest.fixture
def vitals() -> Vitals:
    return Vitals.make(1)


def notifier(vitals: Vitals, tmp_path: Path, **more: str) -> Notifier:
    return Notifier(vitals, {"NOTIFY_SOCKET": str(tmp_path / "notify"), **more})


def test_ready_when_each_process_has_run(
    listener: Listener, vitals: Vitals, tmp_path: Path
) -> None:
    """Once, and without a broker; what changes is told as it changes."""
    it = notifier(vitals, tmp_path)
    vitals.starts(1)
    it.tick()
    assert listener.heard() == ["STATUS=process 1: does not run"]
    vitals.beat(1)
    it.tick()
    assert listener.heard() == ["READY=1", "STATUS=process 1: no connection to the broker"]
    vitals.beat(1, WELL, 1e12)  # a use of the database that does not age
    it.tick()
    it.tick()
    assert listener.heard() == ["STATUS=Serving"]
    it.stopping()
    assert listener.heard() == ["STOPPING=1", "STATUS=Draining"]


def test_signs_of_life_end_where_a_process_hangs(
    listener: Listener, vitals: Vitals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They come twice in the time that systemd waits, not at each beat."""
    it = notifier(vitals, tmp_path, WATCHDOG_USEC="20000000", WATCHDOG_PID=str(os.getpid()))
    now = 100.0
    clock = Clock(lambda: now)
    monkeypatch.setattr("idalloc_worker.process._notifier.time", clock)
    monkeypatch.setattr("idalloc_worker._vitals.time", clock)
    vitals.beat(1)
    for now, signs in ((100.0, 1), (109.0, 0), (110.0, 1), (121.0, 0)):  # noqa: B007  # as the clock
        it.tick()
        assert listener.heard().count("WATCHDOG=1") == signs


def test_another_process_is_the_one_to_give_signs(
    listener: Listener, vitals: Vitals, tmp_path: Path
) -> None:
    """Systemd names it; the environment is inherited."""
    it = notifier(vitals, tmp_path, WATCHDOG_USEC="1", WATCHDOG_PID="1")
    vitals.beat(1)
    it.tick()
    assert "WATCHDOG=1" not in listener.heard()


def test_an_address_that_is_no_file(vitals: Vitals) -> None:
    """A leading @ stands for a zero byte."""
    name = f"idalloc-test-{os.getpid()}"
    listener = Listener(f"\0{name}")
    vitals.beat(1)
    Notifier(vitals, {"NOTIFY_SOCKET": f"@{name}"}).tick()
    assert "READY=1" in listener.heard()
    listener.socket.close()


def test_nobody_to_tell(vitals: Vitals, tmp_path: Path) -> None:
    """Neither without systemd nor where it has gone is anything amiss."""
    Notifier(vitals, {}).tick()
    Notifier.silent(vitals).stopping()
    notifier(vitals, tmp_path).tick()
