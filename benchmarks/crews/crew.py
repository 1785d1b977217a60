"""Starts processes that draw ids from sequences, follows how they stand, and commands them."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from benchmarks.crews.drawers import DRAWERS, URL, Lease
from benchmarks.harness.runner import BenchmarkError
from devstack.workers import end_with_parent

KINDS: tuple[Literal["threads", "tasks"], ...] = ("threads", "threads", "threads", "tasks")

_ROOT = Path(__file__).resolve().parents[2]
_END = 30.0  # seconds
_LOOK_EVERY = 0.1  # seconds


class Drawers:
    """One process; a thread of ours reads what it says."""

    def __init__(self, kind: str, folder: Path, url: str, rate: float, lease: Lease) -> None:
        self.state: dict[str, Any] = {
            "drawn": 0,
            "cover": 0.0,
            "errors": [],
            "drained": 0,
            "recovered": 0,
        }
        self.least_cover = float("inf")
        """Seconds: the lowest since it was set."""
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "benchmarks.crews.drawers", kind, str(folder)),
                *(f"--rate={rate}", f"--cover={lease.cover}", f"--floor={lease.floor}"),
            ],
            env={**os.environ, URL: url},  # not an argument: those are for all to see
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=end_with_parent,  # noqa: PLW1509  # one system call, no lock
        )
        self._reader = threading.Thread(target=self._read, name="drawers-reader", daemon=True)
        self._reader.start()

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def tell(self, command: str) -> None:
        """Send a command."""
        assert self._process.stdin is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()

    def end(self) -> dict[str, Any]:
        """Have it close everything; return its last words."""
        self.tell("end")
        try:
            self._process.wait(_END)
        except subprocess.TimeoutExpired:
            raise BenchmarkError("a drawing process does not end") from None
        self._reader.join()
        if not self.state.get("ended"):
            raise BenchmarkError("a drawing process crashed; its reason stands above")
        return self.state

    def kill(self) -> None:
        """End it whatever it does, and leave nothing open."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.state = json.loads(line)
            self.least_cover = min(self.least_cover, self.state.get("cover", self.least_cover))


class Crew:
    """All processes together."""

    def __init__(self, drawers: Sequence[Drawers], until: float) -> None:
        self._drawers = drawers
        self._until = until

    def __len__(self) -> int:
        return len(self._drawers) * DRAWERS

    def sum(self, key: str) -> int:
        """Add a count of all up."""
        return sum(drawers.state[key] for drawers in self._drawers)

    def least(self, key: str) -> float:
        """Return the lowest of a figure."""
        return float(min(drawers.state[key] for drawers in self._drawers))

    def watch_cover(self) -> None:
        """Forget what cover there was until now."""
        for drawers in self._drawers:
            drawers.least_cover = float("inf")

    def least_cover(self) -> float:
        """Return the lowest cover of any sequence since `watch_cover`, in seconds."""
        return min(drawers.least_cover for drawers in self._drawers)

    def errors(self) -> list[str]:
        """Return the errors that came while there should have been ids."""
        return [error for drawers in self._drawers for error in drawers.state["errors"]]

    def tell(self, command: str) -> None:
        """Send a command to all."""
        for drawers in self._drawers:
            drawers.tell(command)

    def wait_until(self, reached: Callable[[], bool], what: str) -> None:
        """Wait; raises BenchmarkError if it takes too long."""
        while not reached():
            if time.monotonic() > self._until:
                raise BenchmarkError(f"gave up waiting until {what}; try a quieter machine")
            if not all(drawers.running for drawers in self._drawers):
                raise BenchmarkError("a drawing process crashed; its reason stands above")
            time.sleep(_LOOK_EVERY)

    def end(self) -> list[dict[str, Any]]:
        """Have all close everything; return their last words."""
        return [drawers.end() for drawers in self._drawers]


@contextmanager
def crew(folder: Path, url: str, rate: float, lease: Lease, until: float) -> Iterator[Crew]:
    """Have the processes run.

    Args:
        folder: where they write their ids.
        url: the broker.
        rate: ids per second of each drawer.
        lease: what their sequences are asked for.
        until: when to give up, in monotonic seconds.
    """
    drawers: list[Drawers] = []
    try:
        drawers.extend(Drawers(kind, folder, url, rate, lease) for kind in KINDS)
        yield Crew(drawers, until)
    finally:
        for process in drawers:
            process.kill()
