"""A worker's processes when signals come, and when there is nothing to start a process with."""

import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from devstack.workers import Fleet, consumer_counts
from idalloc_client import IdClient


def children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found]


@contextmanager
def no_new_descriptor(pid: int) -> Iterator[None]:
    """Let a process open nothing; what it has stays open."""
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


@contextmanager
def on_hangup(handler: signal.Handlers) -> Iterator[None]:
    """Start a process inside that inherits this: as under `nohup`, or as where there is none."""
    before = signal.signal(signal.SIGHUP, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


def serves(fleet: Fleet) -> bool:
    with IdClient(fleet.amqp_url) as client:
        return client.next_id("test_business", timeout=30) > 0


def test_a_child_that_cannot_be_started(fleet: Fleet) -> None:
    """The supervisor tries again, and the other child serves meanwhile."""
    (worker,) = fleet.start(processes=2)
    victim, healthy = children(worker.pid)
    with no_new_descriptor(worker.pid):
        os.kill(victim, signal.SIGKILL)
        worker.wait_for_log("Cannot start worker process")
        assert serves(fleet)
        assert children(worker.pid) == [healthy]
    fleet.wait_ready(2)
    assert healthy in children(worker.pid)
    assert worker.terminate() == 0


@pytest.mark.parametrize("processes", [1, 2])
def test_a_terminal_that_is_closed_drains(fleet: Fleet, processes: int) -> None:
    """The hangup comes twice, from the kernel and from a shell, and means the same."""
    ours, theirs = os.openpty()
    worker = fleet.add(processes=processes)
    worker.terminal = theirs
    with on_hangup(signal.SIG_DFL):
        worker.start()
    os.close(theirs)
    fleet.wait_ready(processes)
    worker.pause()  # so that it sees both together
    os.close(ours)
    for process in [worker.pid, *children(worker.pid)]:
        os.kill(process, signal.SIGHUP)
    worker.resume()
    assert worker.wait() == 0, worker.tail()
    assert worker.log.read_text().count("Stopped; ") == processes
    assert consumer_counts(fleet.amqp_url) == (0, 0)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_hangup_without_a_terminal_reads_the_log_level(
    fleet: Fleet, processes: int, tmp_path: Path
) -> None:
    """In each process, also in one that is started later; what is no good changes nothing."""
    config = tmp_path / "worker.toml"
    config.write_text('log_level = "warning"\n')
    worker = fleet.add(processes=processes)
    worker.arguments = ("--config", str(config))
    with on_hangup(signal.SIG_DFL):
        worker.start()
    fleet.wait_ready(processes)
    assert "INFO" not in worker.log.read_text()
    config.write_text('log_level = "info"\nmax_count = 7\n')
    worker.signal(signal.SIGHUP)
    worker.wait_for_logs("Settings were read again", processes + (processes > 1))
    worker.wait_for_log("These settings change at the next start: max_count")
    config.write_text('log_level = "loud"\n')
    worker.signal(signal.SIGHUP)
    worker.wait_for_log("The settings were not read again: log_level")
    assert serves(fleet)
    assert worker.terminate() == 0
    assert worker.count_in_log("INFO idalloc.worker Stopped; ") == processes


def test_a_hangup_that_is_to_be_ignored(fleet: Fleet) -> None:
    """Under `nohup` a worker outlives its terminal."""
    with on_hangup(signal.SIG_IGN):
        (worker,) = fleet.start()
    worker.signal(signal.SIGHUP)
    assert serves(fleet)
    assert "Draining" not in worker.log.read_text()
    assert worker.terminate() == 0


@pytest.mark.parametrize("processes", [1, 2])
def test_sigquit_shows_what_each_thread_is_at(fleet: Fleet, processes: int) -> None:
    """It reaches the whole group from a terminal, and nothing ends by it."""
    (worker,) = fleet.start(processes=processes)
    group = [worker.pid, *children(worker.pid)]
    with IdClient(fleet.amqp_url) as client:  # busy processes: their threads run meanwhile
        for _ in range(300):
            for process in group:
                os.kill(process, signal.SIGQUIT)
            assert client.next_id("test_business", timeout=30) > 0
    worker.wait_for_log("most recent call first")
    worker.wait_for_log("_run")  # a function of another thread than the main one
    assert [worker.pid, *children(worker.pid)] == group
    assert worker.terminate() == 0
