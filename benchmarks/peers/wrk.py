"""Loads an HTTP service with wrk, and reads what wrk says.

wrk: https://github.com/wg/wrk.
"""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from math import ceil

from benchmarks.harness.runner import BenchmarkError

THREADS = 2
"""wrk's own choice; more would only take time from the service, which shares the machine."""

_LIMIT = 30.0  # seconds for a whole turn beyond its length
_RATE = re.compile(r"^Requests/sec:\s*(\d+(?:\.\d+)?)\s*$", re.MULTILINE)
_FAULT = re.compile(r"^\s*(Socket errors: .*|Non-2xx .*)$", re.MULTILINE)


@dataclass(frozen=True)
class Load:
    """What wrk got: answers per second, and the CPU seconds per answer that it used itself."""

    rate: float
    cpu_per_answer: float


def program() -> str:
    """Find wrk; raises BenchmarkError, which says how to install it."""
    found = shutil.which("wrk")
    if found is None:
        raise BenchmarkError("wrk is missing; install it: apt-get install wrk")
    return found


def load(url: str, connections: int, seconds: float) -> Load:
    """Have so many connections ask one request after the other; wrk counts in whole seconds."""
    length = max(1, ceil(seconds))
    before = _cpu_of_children()
    try:
        done = subprocess.run(
            [program(), f"-t{THREADS}", f"-c{connections}", f"-d{length}s", url],
            capture_output=True,
            text=True,
            check=False,
            timeout=length + _LIMIT,
        )
    except subprocess.TimeoutExpired:
        raise BenchmarkError("wrk does not end") from None
    if done.returncode:
        raise BenchmarkError(f"wrk failed: {done.stderr.strip() or done.stdout.strip()}")
    rate = parse(done.stdout)
    return Load(rate, (_cpu_of_children() - before) / (rate * length))


def parse(output: str) -> float:
    """Read the requests per second; raises BenchmarkError if any of them failed."""
    fault = _FAULT.search(output)
    if fault is not None:
        raise BenchmarkError(f"not every request was answered: {fault[1]}")
    rate = _RATE.search(output)
    if rate is None or not float(rate[1]):
        raise BenchmarkError(f"wrk got no answers; it said: {output.strip()!r}")
    return float(rate[1])


def _cpu_of_children() -> float:
    """Add up the CPU seconds of processes that have ended: within a turn, that is wrk alone."""
    times = os.times()
    return times.children_user + times.children_system
