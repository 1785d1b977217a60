"""Processes that ask for ids at the same time: one would be the limit before several workers are.

Each has a plain pika connection to every virtual host that it was sent to.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.harness.runner import BenchmarkError
from benchmarks.harness.site import TAG
from benchmarks.peers.raw_requests import RawRequests, raw_requests
from devstack.workers import end_with_parent
from idalloc_schemas import ALLOC_QUEUE

_ROOT = Path(__file__).resolve().parents[2]
_END = 10.0  # seconds


class Load:
    """The processes; they wait while nobody asks for a rate."""

    def __init__(self, processes: "list[subprocess.Popen[str]]") -> None:
        self._processes = processes

    @property
    def pids(self) -> list[int]:
        """Their process ids."""
        return [process.pid for process in self._processes]

    def rate(self, amqp_url: str, in_flight: int, seconds: float) -> float:
        """Have all of them keep so many requests in flight together; return answers per second.

        Raises BenchmarkError if one of them failed.
        """
        share = in_flight // len(self._processes)
        order = json.dumps([amqp_url, share, seconds])  # not an argument: those are for all to see
        for process in self._processes:
            assert process.stdin is not None
            print(order, file=process.stdin, flush=True)
        return sum(map(_answer, self._processes))


@contextmanager
def load(processes: int) -> Iterator[Load]:
    """Have so many processes run."""
    with ExitStack() as closing:
        started = []
        for _ in range(processes):
            process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.harness.load"],
                cwd=_ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                preexec_fn=end_with_parent,  # noqa: PLW1509  # one system call, no lock
            )
            closing.callback(_end, process)
            started.append(process)
        yield Load(started)


def _answer(process: "subprocess.Popen[str]") -> float:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise BenchmarkError("a process that asks for ids failed; its reason stands above")
    return float(line)


def _end(process: "subprocess.Popen[str]") -> None:
    try:
        process.communicate(timeout=_END)  # the end of its input ends it
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


def _serve() -> None:
    connections: dict[str, RawRequests] = {}
    with ExitStack() as closing:
        for order in sys.stdin:
            amqp_url, in_flight, seconds = json.loads(order)
            if amqp_url not in connections:
                connections[amqp_url] = closing.enter_context(
                    raw_requests(amqp_url, ALLOC_QUEUE, [TAG])
                )
            print(connections[amqp_url].rate(in_flight, seconds), flush=True)


if __name__ == "__main__":
    _serve()
