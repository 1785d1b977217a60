"""The honest caller: a process that asks for one id, 50 times a second, whatever happens.

Each call starts when it is due, also while others still wait, and its time counts from then on.
It tells each outcome in a line on its output, and ends when its input does.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Final, Self

from devstack.history import Recorder, Reply
from devstack.workers import end_with_parent
from idalloc_client import IdAllocError, IdClient

PACE: Final = 50.0  # calls per second
DEADLINE: Final = 5.0
"""Seconds of each call, where time is measured; tests that only count leave more."""

PLAIN_TAG: Final = "test_business"
ORDERED_TAG: Final = "honest-ordered"

_URL: Final = "IDALLOC_TEST_HONEST_URL"
_FOLDER: Final = "IDALLOC_TEST_HONEST_FOLDER"
_DEADLINE: Final = "IDALLOC_TEST_HONEST_DEADLINE"
_PATIENCE: Final = 60.0
_EVERY: Final = 5  # one of so many calls is for the ordered tag


@dataclass(frozen=True)
class Call:
    """One call: which in order, when it was due (monotonic seconds), and how it went."""

    number: int
    due: float
    seconds: float
    failure: str | None


class HonestCaller:
    """Starts the process; a thread of ours reads what it tells."""

    def __init__(self, amqp_url: str, folder: Path, deadline: float) -> None:
        self._calls: list[Call] = []
        self._told = threading.Condition()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "devstack.attacks.honest"],
            env={
                **os.environ,
                _URL: amqp_url,
                _FOLDER: str(folder),
                _DEADLINE: str(deadline),
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=end_with_parent,  # noqa: PLW1509  # one system call, no lock
        )
        self._reader = threading.Thread(target=self._read, name="honest-reader", daemon=True)
        self._reader.start()

    @property
    def calls(self) -> int:
        """How many have ended so far."""
        with self._told:
            return len(self._calls)

    def calls_between(self, start: float, end: float) -> Sequence[Call]:
        """Return the calls that were due then, once all of them have ended."""
        self._wait(lambda: bool(self._calls))
        first, last = self._number_at(start), self._number_at(end)
        self._wait(lambda: sum(call.number < last for call in self._calls) == last)
        with self._told:
            return [call for call in self._calls if first <= call.number < last]

    def wait_for_success(self, after: float) -> None:
        """Wait until a call that was due after that time has got its id."""
        self._wait(lambda: any(c.due > after and c.failure is None for c in self._calls))

    def close(self) -> None:
        """Let the calls that are open end, and then the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _number_at(self, instant: float) -> int:
        """Tell which call is the first that is due at that time or later."""
        some = self._calls[0]
        return max(0, some.number + ceil((instant - some.due) * PACE))

    def _wait(self, condition: Callable[[], bool]) -> None:
        with self._told:
            if not self._told.wait_for(condition, _PATIENCE):
                raise AssertionError("the honest caller tells nothing more")

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            call = Call(*json.loads(line))
            with self._told:
                self._calls.append(call)
                self._told.notify_all()


class _Asking:
    """What the process does."""

    def __init__(self, client: IdClient, recorder: Recorder, deadline: float) -> None:
        self._client = client
        self._deadline = deadline
        self._recorder = recorder
        self._ended = threading.Event()
        self._output = threading.Lock()

    @property
    def _most_open(self) -> int:
        return int(2 * PACE * self._deadline)  # more than there can be: each ends by its deadline

    def run(self) -> None:
        """Ask until the input ends."""
        threading.Thread(target=self._watch_input, name="input", daemon=True).start()
        with ThreadPoolExecutor(self._most_open, thread_name_prefix="call") as pool:
            began, number = time.monotonic(), 0
            while not self._ended.is_set():
                due = began + number / PACE
                self._ended.wait(max(due - time.monotonic(), 0.0))
                pool.submit(self._call, number, due)
                number += 1

    def _watch_input(self) -> None:
        sys.stdin.read()
        self._ended.set()

    def _call(self, number: int, due: float) -> None:
        app_tag = PLAIN_TAG if number % _EVERY else ORDERED_TAG
        failure = None
        sent_at = time.monotonic()
        try:
            batch = self._client.next_ids(app_tag, 1, timeout=self._deadline)
        except IdAllocError as error:
            failure = f"{app_tag}: {type(error).__name__}: {error}"
        else:
            now = time.monotonic()
            # Calls of one process overlap, so each is a stream of its own for the history.
            caller = f"honest-{number}"
            self._recorder.record(Reply(app_tag, batch.ranges, batch.worker, caller, sent_at, now))
        line = json.dumps([number, due, time.monotonic() - due, failure])
        with self._output:
            print(line, flush=True)  # noqa: T201  # its report


def main() -> None:
    """Run as the module's docstring says."""
    folder = Path(os.environ[_FOLDER])
    with IdClient(os.environ[_URL]) as client, Recorder(folder) as recorder:
        _Asking(client, recorder, float(os.environ.get(_DEADLINE, DEADLINE))).run()


if __name__ == "__main__":
    main()
