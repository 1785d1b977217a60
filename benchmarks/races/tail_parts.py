"""Where the time of the slowest of a thousand requests goes, at half of what each worker can do.

The same requests as in `tail`, sent by a sender that does next to nothing, and by pika. Worker and
sender note when each request passes them; in between it is at the broker.
"""

import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Final

from benchmarks.harness.command import main
from benchmarks.harness.runner import Plan, Race, Report, run
from benchmarks.harness.site import TAG, one_worker, peer
from benchmarks.harness.socket_trace import Passage, Trace, tracing
from benchmarks.harness.turns import Contender, Sample
from benchmarks.peers.echo_peer import QUEUE as ECHO
from benchmarks.peers.lean_requests import ANSWER, LeanRequests, Times, lean_requests
from benchmarks.peers.raw_requests import RawRequests
from benchmarks.races.tail import capacities
from idalloc_schemas import ALLOC_QUEUE

TITLE: Final = "Where the slowest of a thousand requests spend their time"
DEFAULT: Final = Plan(rounds=5, seconds=1.0, budget=60.0)
PARTS: Final = (
    "waits to be sent",
    "broker, there",
    "worker waits for a CPU",
    "worker",
    "broker, back",
)
_SLOWEST: Final = 0.001
_MARKS: Final = (b'"%s"}' % TAG.encode(), ANSWER)


class _PikaRequests(RawRequests):
    """Requests that pika sends, with the time of each."""

    def __init__(self, amqp_url: str, queue: str) -> None:
        self._sent: list[float] = []
        super().__init__(amqp_url, queue, [TAG])

    def paced(self, pace: float, seconds: float) -> Times:
        """Send so many a second."""
        self._sent = []
        taken = self.latencies(pace, seconds)
        due = [self._sent[0] + number / pace for number in range(len(taken))]
        answered = [at + took for at, took in zip(due, taken, strict=True)]
        return Times(due, self._sent, answered)

    def _send(self) -> None:
        self._sent.append(time.perf_counter())
        super()._send()


def measure(plan: Plan) -> Report:
    """Let both workers and both senders take turns."""
    with (
        tracing(_MARKS) as trace,
        one_worker() as site,
        peer("echo", site.amqp_url) as echo,
        ExitStack() as closing,
    ):
        senders: list[tuple[str, LeanRequests | _PikaRequests, int]] = []
        for name, queue, pid in (
            ("idalloc", ALLOC_QUEUE, site.processes["worker"][0]),
            ("echo", ECHO, echo),
        ):
            lean = closing.enter_context(lean_requests(site.amqp_url, queue, TAG))
            pika = _PikaRequests(site.amqp_url, queue)
            closing.callback(pika.close)
            senders += [(name, lean, pid), (f"{name}, pika sends", pika, pid)]
        most = capacities([(label, requests) for label, requests, _ in senders])
        contenders = [
            Contender(label, partial(_traced, partial(requests.paced, capacity / 2), trace, pid))
            for (label, requests, pid), capacity in zip(senders, most, strict=True)
        ]
        return run(Race(TITLE, "us", contenders, (), site.processes, "request"), plan)


def _traced(paced: Callable[[float], Times], trace: Trace, pid: int, seconds: float) -> Sample:
    trace.skip(pid)
    times = paced(seconds)
    return shares(times, trace.passage(pid, len(times.due)))


def shares(times: Times, passage: Passage) -> Sample:
    """Tell the slowest requests' parts, each the mean of them, in microseconds."""
    requests = zip(times.due, times.sent, passage.written, times.answered, strict=True)
    by_time = sorted(requests, key=lambda request: request[-1] - request[0], reverse=True)
    slowest = by_time[: max(1, round(len(by_time) * _SLOWEST))]
    parts = [_parts(passage, *request) for request in slowest]
    means = [sum(values) / len(slowest) * 1e6 for values in zip(*parts, strict=True)]
    return Sample(sum(means), dict(zip(PARTS, means, strict=True)), len(by_time))


def _parts(
    passage: Passage, due: float, sent: float, written: float, answered: float
) -> tuple[float, ...]:
    waited, worked = passage.waited(sent, written), passage.worked(sent, written)
    there = max(written - sent - waited - worked, 0.0)
    return sent - due, there, waited, worked, answered - written


if __name__ == "__main__":
    sys.exit(main(measure, __doc__, DEFAULT))
