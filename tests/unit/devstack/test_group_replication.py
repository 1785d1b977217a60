"""A server that somebody else started is found by its port, and started again as it was."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from devstack.clusters._group_replication import _Process
from devstack.servers._ports import free_port
from devstack.workers import PATIENCE, end_with_parent

SERVER = """
import socket, sys
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("listens", sys.argv[2:], flush=True)
while True:
    listener.accept()[0].close()
"""


def find(port: int) -> _Process:
    deadline = time.monotonic() + PATIENCE
    while (process := _Process.listening(port)) is None:
        assert time.monotonic() < deadline, "nothing listens"
        time.sleep(0.01)
    return process


def test_a_process_is_found_by_its_port_and_started_again(tmp_path: Path) -> None:
    """With the same command line and more options, and the same file for its output."""
    port, log = free_port(), tmp_path / "log"
    with log.open("wb") as output:
        started = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(port), "first"],
            stdout=output,
            preexec_fn=end_with_parent,  # noqa: PLW1509  # one system call, no lock
        )
    process = find(port)
    assert (process.pid, process.runs) == (started.pid, True)
    started.kill()
    started.wait()
    assert not process.runs
    assert _Process.listening(port) is None
    process.start_again("again")
    second = find(port)
    os.kill(second.pid, signal.SIGKILL)
    assert second.argv[-2:] == ("first", "again")
    assert log.read_text().splitlines() == ["listens ['first']", "listens ['first', 'again']"]
