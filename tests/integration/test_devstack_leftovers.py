"""Nothing of the stack outlives the process that asked for it, however that process ends."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 120.0
SERVERS = re.compile("_guard.py|beam|mariadbd|mysqld")

# Prints a line when the stack runs, and then waits for its end.
HOLDER = """
import signal, threading
signal.signal(signal.SIGINT, signal.default_int_handler)  # where the tests run in the background
from devstack import running_stack
with running_stack() as stack:
    print(stack.source, flush=True)
    threading.Event().wait()
"""

# The same, while a child of its own holds a copy of everything it has open.
FORKED_HOLDER = """
import os, time
from devstack import private_mysql
with private_mysql() as mysql:
    child = os.fork()
    if child:
        print("private", child, flush=True)
    time.sleep(1000)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give the folder in which the stack makes its own: it marks every process of the stack."""
    made = tmp_path / "stack"
    made.mkdir()
    return made


@pytest.fixture
def no_docker() -> dict[str, str]:
    """Give an environment in which the stack consists of private servers."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("IDALLOC_TEST_")}
    return {**kept, "DOCKER_HOST": "unix:///nowhere"}


@contextmanager
def hold(
    folder: Path, environment: dict[str, str], script: str
) -> Iterator["subprocess.Popen[str]"]:
    """Run a script that does not outlive its test, not even one that fails."""
    with subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={**environment, "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,  # as a shell does, so that a Ctrl-C reaches the whole group
    ) as process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture
def holder(folder: Path, no_docker: dict[str, str]) -> Iterator["subprocess.Popen[str]"]:
    """Give a process that is about to start a stack."""
    with hold(folder, no_docker, HOLDER) as process:
        yield process


def processes_of(folder: Path) -> list[str]:
    """Return the command lines of all processes that have to do with the folder."""
    found = []
    needle = str(folder).encode()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command, environ = (
                (process / "cmdline").read_bytes(),
                (process / "environ").read_bytes(),
            )
        except OSError:
            continue
        if needle in command or needle in environ:
            found.append(command.replace(b"\0", b" ").decode("utf-8", "replace"))
    return found


def wait_until_gone(folder: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while processes_of(folder) or any(folder.iterdir()):
        assert time.monotonic() < deadline, [*processes_of(folder), *folder.iterdir()]
        time.sleep(0.05)


def wait_until_servers_are_gone(folder: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while left := [command for command in processes_of(folder) if SERVERS.search(command)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def wait_until_up(process: "subprocess.Popen[str]", folder: Path) -> str:
    """Return the line that the process has printed, once the stack runs."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert "private" in line, process.communicate()
    commands = " ".join(processes_of(folder))
    assert "_guard.py" in commands
    assert SERVERS.search(commands)
    return line


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_servers_go_with_their_owner(
    holder: "subprocess.Popen[str]", folder: Path, number: signal.Signals
) -> None:
    """No process and no file is left after a kill, a termination, or a Ctrl-C in the terminal."""
    wait_until_up(holder, folder)
    os.killpg(holder.pid, number)
    holder.wait()
    wait_until_gone(folder)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_also_while_they_start(
    holder: "subprocess.Popen[str]", folder: Path, number: signal.Signals
) -> None:
    """An owner that ends before its servers are ready leaves nothing either."""
    while "beam" not in " ".join(processes_of(folder)):
        assert holder.poll() is None, holder.communicate()
        time.sleep(0.02)
    os.killpg(holder.pid, number)
    holder.wait()
    wait_until_gone(folder)


def test_a_child_that_the_owner_forked_keeps_nothing_alive(
    folder: Path, no_docker: dict[str, str]
) -> None:
    """The guardian watches its owner, not only a pipe of which a child may hold a copy."""
    with hold(folder, no_docker, FORKED_HOLDER) as process:
        child = int(wait_until_up(process, folder).split()[1])
        process.kill()
        wait_until_servers_are_gone(folder)
        os.kill(child, signal.SIGKILL)
        wait_until_gone(folder)


def test_servers_do_not_outlive_their_guardian(folder: Path, no_docker: dict[str, str]) -> None:
    """Killing even the guardian does not set its server free."""
    with hold(folder, no_docker, HOLDER) as process:
        wait_until_up(process, folder)
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            command = entry.read_bytes() if entry.exists() else b""
            if b"_guard.py" in command and str(folder).encode() in command:
                os.kill(int(entry.parent.name), signal.SIGKILL)
        wait_until_servers_are_gone(folder)
