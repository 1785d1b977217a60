"""Requests for ids while 500 requests come at once for the health of all tags.

One worker with many tags. Requests for ids go to it at a steady pace, and in the middle of that the
flood of a dashboard gone wild. What counts is the longest wait for an id, and by how much the
worker's memory grows at its peak. `--requests N` says how many, `--tags N` the worker's tags.
"""

import argparse
import multiprocessing
import sys
import threading
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pika

from benchmarks.harness.command import positive_int
from benchmarks.harness.machine import resident_bytes
from benchmarks.harness.proof import Effort, Finding, Proof
from benchmarks.harness.proof import main as run_main
from benchmarks.harness.runner import BenchmarkError, progress
from benchmarks.harness.site import TAG, one_worker
from benchmarks.peers.raw_requests import raw_requests
from benchmarks.report.points import point
from benchmarks.report.sweeps import percentile, warm_up
from idalloc_schemas import ALLOC_QUEUE, HEALTH_QUEUE

TITLE = "A flood of requests for the health of all tags"
DEFAULT = Effort(amount=500, seconds=None, budget=300.0)
TAGS = 2000
MOST_SECONDS = 0.5
MOST_GROWTH = 20.0  # MB

_PACE = 200.0  # per second
_SECONDS = 8.0
_FLOOD_AFTER = 2.0
_PATIENCE = 900.0  # seconds for all tags to get warm
_ANSWERS_WITHIN = 120.0
_QUIET = 5.0  # seconds without an answer: no more will come
_REPLY_TO = "amq.rabbitmq.reply-to"
_ASKED = (("one worker", b"{}"), ("the fleet", b'{"fleet":true}'))


def prove(effort: Effort, number: int = TAGS) -> Proof:
    """Warm the tags up, then flood."""
    with one_worker() as site:
        (worker,) = site.processes["worker"]
        warm_up(site, site.add_tags("t", number), _PATIENCE)
        findings = []
        for asked, body in _ASKED:
            progress(f"{TITLE}: {effort.amount} times {asked}, {number:,} tags")
            _flood(site.amqp_url, body, 50)  # what memory is ever needed is taken here
            _peak(worker)
            before = resident_bytes([worker])
            taken, answered = _measure(site.amqp_url, body, effort.amount)
            grown = (_peak(worker) - before) / 1e6
            findings += _findings(point(asked, number), sorted(taken), grown, answered)
    return Proof(f"{TITLE}; a request for an id every {1000 / _PACE:g} ms", findings)


def _findings(what: str, taken: Sequence[float], grown: float, answered: int) -> list[Finding]:
    slow = percentile(taken, 0.99)
    return [
        Finding(f"{what}: longest wait for an id, s", taken[-1], at_most=MOST_SECONDS),
        Finding(f"{what}: 99 % of them, s", slow),
        Finding(f"{what}: growth of the worker at its peak, MB", grown, at_most=MOST_GROWTH),
        Finding(f"{what}: health requests answered", answered),
    ]


def _measure(amqp_url: str, body: bytes, amount: int) -> tuple[list[float], int]:
    """Ask for ids all the time, and flood in a process of its own; the answers are many bytes."""
    context = multiprocessing.get_context("spawn")
    answered = context.Value("i", 0)
    flood = context.Process(target=_flood_apart, args=(amqp_url, body, amount, answered))
    timer = threading.Timer(_FLOOD_AFTER, flood.start)
    with raw_requests(amqp_url, ALLOC_QUEUE, [TAG]) as requests:
        requests.round_trips(1, 0.5)
        timer.start()
        taken = requests.latencies(_PACE, _SECONDS)
    timer.join()
    flood.join(_ANSWERS_WITHIN)
    if flood.exitcode != 0:
        flood.kill()
        raise BenchmarkError("the flood did not come to its end")
    return taken, answered.value


def _flood_apart(amqp_url: str, body: bytes, amount: int, answered: Any) -> None:
    answered.value = _flood(amqp_url, body, amount)


def _flood(amqp_url: str, body: bytes, amount: int) -> int:
    """Ask so often at once; return how many answers come until none does for some seconds."""
    properties = pika.BasicProperties(reply_to=_REPLY_TO, expiration="60000")
    answers = 0

    def on_answer(*_: object) -> None:
        nonlocal answers
        answers += 1

    with pika.BlockingConnection(pika.URLParameters(amqp_url)) as connection:
        channel = connection.channel()
        channel.basic_consume(_REPLY_TO, on_answer, auto_ack=True)
        for _ in range(amount):
            channel.basic_publish("", HEALTH_QUEUE, body, properties)
        before = -1
        while before != answers < amount:
            before = answers
            until = time.monotonic() + _QUIET
            while answers == before and time.monotonic() < until:
                connection.process_data_events(0.1)
    return answers


def _peak(pid: int) -> int:
    """Tell the most memory that a process has had in RAM, in bytes, and count anew."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (peak,) = (int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return peak * 1024


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 if it kept its bars, 1 if not, 2 if it could not run."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--tags", type=positive_int, default=TAGS)
    given, others = parser.parse_known_args(arguments)
    return run_main(partial(prove, number=given.tags), __doc__, "requests", DEFAULT, others)


if __name__ == "__main__":
    sys.exit(main())
