"""A child that cannot be started is started later, and the others go on."""

import errno
import io
import logging
from collections.abc import Callable
from typing import Any

import pytest

from idalloc_client.amqp._backoff import Backoff
from idalloc_worker._vitals import Vitals
from idalloc_worker.process._starter import Starter
from idalloc_worker.process._supervisor import Supervisor
from idalloc_worker.settings._settings import Settings


class FakeProcess:
    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.stdin = io.BytesIO()
        self.status: int | None = None

    def poll(self) -> int | None:
        return self.status


class FakePopen:
    """Starts processes while it may, and fails with `error` otherwise."""

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self.started: list[FakeProcess] = []

    def __call__(self, _command: Any, **_: Any) -> Any:
        if self.error is not None:
            raise self.error
        self.started.append(FakeProcess(100 + len(self.started)))
        return self.started[-1]


class Bench:
    def __init__(self) -> None:
        self.popen = FakePopen()
        settings = Settings.model_validate({"processes": 2})
        self.supervisor = Supervisor(settings, Vitals.make(2), popen=self.popen)

    def look(self) -> None:
        """Look again, once every pause is over."""
        for slot in self.supervisor._slots:
            slot.start_at = 0.0
        self.supervisor._look()

    @property
    def pids(self) -> list[int | None]:
        return [slot.process.pid if slot.process else None for slot in self.supervisor._slots]


@pytest.mark.parametrize(
    "error",
    [
        *(OSError(number, "no") for number in (errno.EMFILE, errno.EAGAIN, errno.ENOMEM)),
        RuntimeError("can't start new thread"),
    ],
)
def test_a_failed_start_is_repeated(error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing else is touched meanwhile, and it is said why."""
    bench = Bench()
    bench.look()
    assert bench.pids == [100, 101]
    bench.popen.started[0].status = -9
    bench.popen.error = error
    with caplog.at_level(logging.ERROR):
        bench.look()  # it ended
        bench.look()  # and cannot be started
    assert bench.pids == [None, 101]
    assert not bench.popen.started[1].stdin.closed, "the healthy one was told to stop"
    assert "Cannot start worker process 1" in caplog.text
    assert bench.supervisor._slots[0].start_at > 0, "it is not tried again at once"
    bench.popen.error = None
    bench.look()
    assert bench.pids == [102, 101]


def test_the_first_start_may_fail_too() -> None:
    bench = Bench()
    bench.popen.error = OSError(errno.EMFILE, "no")
    bench.look()
    assert bench.pids == [None, None]
    bench.popen.error = None
    bench.look()
    assert bench.pids == [100, 101]


# What needs threads


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def failing(times: int, started: list[str], name: str) -> Callable[[], None]:
    """Make something that cannot be started so many times."""
    failures = iter(range(times))

    def start() -> None:
        if next(failures, None) is not None:
            raise RuntimeError("can't start new thread")
        started.append(name)

    return start


def test_what_cannot_be_started_is_tried_again(clock: Clock) -> None:
    """Each on its own: what could be started is not started twice."""
    starter, started = Starter(Backoff(1, 1, jitter=lambda: 1.0), clock), list[str]()
    starter.start("a", failing(2, started, "a"))
    starter.start("b", failing(0, started, "b"))
    assert started == ["b"]
    assert starter.pause == 1
    starter.retry()
    assert started == ["b"], "too early"
    for clock.now in (1.0, 2.0):
        starter.retry()
    assert started == ["b", "a"]
    assert starter.pause is None
