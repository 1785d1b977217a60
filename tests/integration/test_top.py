"""`idalloc top` before real workers under load, written to a file and drawn on a terminal."""

import contextlib
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from typing import Self

import pytest

from devstack.workers import Fleet, end_with_parent
from idalloc_client import IdClient

COMMAND = [sys.executable, "-m", "idalloc_worker", "top"]
TAG = "test_business"
BATCH = 100


@contextlib.contextmanager
def load(amqp_url: str) -> Iterator[None]:
    """Draw batches all the time, from all workers in turn."""
    ended = threading.Event()

    def draw() -> None:
        with IdClient(amqp_url) as client:
            while not ended.wait(0.005):  # it need not be all that the machine can do
                client.next_ids(TAG, BATCH, timeout=30)

    callers = [threading.Thread(target=draw, name=f"caller {number}") for number in range(3)]
    for caller in callers:
        caller.start()
    try:
        yield
    finally:
        ended.set()
        for caller in callers:
            caller.join()


def environment(amqp_url: str) -> dict[str, str]:
    return {**os.environ, "IDALLOC_AMQP_URL": amqp_url}


def picture(amqp_url: str, *options: str) -> list[list[str]]:
    """Run it once and return the words of each line."""
    run = subprocess.run(
        [*COMMAND, "--once", *options],
        env=environment(amqp_url),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "\x1b" not in run.stdout
    return [line.split() for line in run.stdout.splitlines()]


def number(word: str) -> float:
    return float(word.replace(",", ""))


def test_one_picture(fleet: Fleet) -> None:
    """The tag, three workers, and rates that agree with each other and with the load."""
    fleet.start(3)
    with load(fleet.amqp_url):
        for _ in range(10):  # a machine that is busy may let a worker answer too late, or wait
            lines = picture(fleet.amqp_url)
            workers = [words for words in lines if words[:2] == ["idalloc", "worker"]]
            (order,) = [words for words in lines if words[:1] == [TAG]]
            granted = sum(number(words[4]) for words in workers if words[4] != "-")
            if len(workers) == 3 and order[5] == "3" and granted > 1:
                break
    assert len({words[2] for words in workers}) == 3
    assert order[5] == "3"
    assert number(order[1]) == pytest.approx(granted * BATCH, rel=0.1)
    assert number(order[2]) > 0
    assert order[7] == "ready"
    assert lines[0][:3] == ["idalloc", "3", "workers"]


def test_a_pipe_gets_one_picture(fleet: Fleet) -> None:
    """Without --once, and with nobody at a terminal."""
    fleet.start()
    run = subprocess.run(
        COMMAND,
        env=environment(fleet.amqp_url),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.startswith("idalloc  1 worker ")


def test_without_a_broker_one_picture_is_an_error() -> None:
    """It says so and fails, where there is nobody to wait for the next try."""
    run = subprocess.run(
        [*COMMAND, "--once"],
        env=environment("amqp://guest:guest@127.0.0.1:1/"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr.startswith("idalloc: ")


def _own_terminal() -> None:
    end_with_parent()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # so that Ctrl-C reaches it


class Terminal:
    """A terminal of 20 rows, on which the command runs."""

    def __init__(self, amqp_url: str, columns: int = 100) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 20, columns, 0, 0))
        self.before = termios.tcgetattr(theirs)
        self._theirs = theirs
        self._shown = ""
        self.process = subprocess.Popen(
            [*COMMAND, "--interval", "0.3"],
            env=environment(amqp_url),
            stdin=theirs,
            stdout=theirs,
            stderr=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=_own_terminal,  # noqa: PLW1509  # two system calls, no lock
        )

    def frame_with(self, *texts: str, timeout: float = 60) -> str:
        """Wait for a whole picture with these texts, and return it; each is returned once."""
        deadline = time.monotonic() + timeout
        while True:
            *frames, self._shown = self._shown.split("\x1b[J")
            for index, frame in enumerate(frames):
                if all(text in frame for text in texts):
                    self._shown = "\x1b[J".join([*frames[index + 1 :], self._shown])
                    return re.sub(r"\x1b\[[?\d]*[A-Za-z]", "", frame)
            assert time.monotonic() < deadline, self._shown
            self._read(1)

    def _read(self, patience: float) -> None:
        ready, _, _ = select.select([self._ours], [], [], patience)
        if ready:
            self._shown += os.read(self._ours, 65536).decode()

    def type(self, keys: bytes) -> None:
        os.write(self._ours, keys)

    def wait(self) -> int:
        """Read on until it ends, and return its exit status."""
        while self.process.poll() is None:
            self._read(0.05)
        self._read(0)
        return self.process.returncode

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()
        os.close(self._ours)
        os.close(self._theirs)

    @property
    def settings(self) -> list[object]:
        return termios.tcgetattr(self._theirs)


@pytest.mark.parametrize("key", [b"q", b"\x03"], ids=["q", "Ctrl-C"])
def test_it_draws_until_a_key_ends_it(fleet: Fleet, key: bytes) -> None:
    """Frame after frame within the terminal's size, which is left as it was."""
    fleet.start(2)
    with load(fleet.amqp_url), Terminal(fleet.amqp_url) as terminal:
        for _ in range(2):
            frame = terminal.frame_with(TAG)
            lines = [line.rstrip("\r") for line in frame.split("\n")]
            assert len(lines) == 20
            assert all(len(line) <= 100 for line in lines)
            assert "q quits" in lines[-1]
        terminal.type(key)
        assert terminal.wait() == 0
        assert terminal.settings == terminal.before
        assert terminal._shown.endswith("\x1b[?25h\x1b[?1049l")


def test_a_worker_that_vanishes_and_the_end_of_all(fleet: Fleet) -> None:
    """It is shown as gone; with no worker left there is a message, and a new one is found."""
    first, second = fleet.start(2)
    with Terminal(fleet.amqp_url, columns=200) as terminal:
        terminal.frame_with("2 workers")
        first.kill()
        terminal.frame_with("1 worker ", "gone")
        second.kill()
        terminal.frame_with("0 workers", "no answer, trying on")
        fleet.start()
        terminal.frame_with("1 worker ")
        terminal.type(b"q")
        assert terminal.wait() == 0


def test_an_unreachable_broker_is_waited_for() -> None:
    """The message says why, and q still works."""
    with Terminal("amqp://guest:guest@127.0.0.1:1/") as terminal:
        for _ in range(2):
            terminal.frame_with("no answer, trying on")
        terminal.type(b"q")
        assert terminal.wait() == 0
