"""A fresh client's first call where one of three brokers in its URL is not to be had.

The three are one broker behind three ways. In turns, all of them work, one refuses connections, one
has a name that nobody knows, and one takes connections and says nothing. A client begins with one
of them by chance.
"""

import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from statistics import fmean, median
from urllib.parse import urlsplit

from benchmarks.harness.proof import Effort, Finding, Proof, main
from benchmarks.harness.runner import progress
from benchmarks.harness.site import TAG, one_worker
from devstack import TcpProxy
from devstack.servers._ports import free_port
from idalloc_client import IdClient

TITLE = "First call of a fresh client, three brokers in its URL"
DEFAULT = Effort(amount=20, seconds=None, budget=120.0)
MOST_SECONDS = 0.5

_ALL, _REFUSES, _UNKNOWN, _SILENT = "all work", "one refuses", "one is unknown", "one is silent"


def prove(effort: Effort) -> Proof:
    """Let the four take turns."""
    with one_worker() as site, ExitStack() as stack:
        parts = urlsplit(site.amqp_url)
        target = parts.hostname or "", parts.port or 5672
        *good, silent = (stack.enter_context(TcpProxy(*target)) for _ in range(4))
        silent.pause()
        ports = [proxy.port for proxy in good]
        thirds = {
            _ALL: f"127.0.0.1:{ports.pop()}",
            _REFUSES: f"127.0.0.1:{free_port()}",
            _UNKNOWN: "broker.invalid:5672",
            _SILENT: f"127.0.0.1:{silent.port}",
        }
        user = parts.netloc.rpartition("@")[0]
        hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
        taken: dict[str, list[float]] = {name: [] for name in thirds}
        for number in range(effort.amount):
            progress(f"{TITLE}: {number + 1}/{effort.amount}")
            for name, third in thirds.items():
                url = parts._replace(netloc=f"{user}@{hosts},{third}").geturl()
                taken[name].append(_first_call(url))
    return Proof(TITLE, [found for name in thirds for found in _findings(taken, name)])


def _findings(taken: dict[str, list[float]], name: str) -> Sequence[Finding]:
    if name == _ALL:
        return [Finding(f"{name}: median, s", median(taken[name]))]
    later = {
        how: figure(taken[name]) - figure(taken[_ALL])
        for how, figure in (("median", median), ("mean", fmean))
    }
    return [
        Finding(f"{name}: so much later, median, s", later["median"], at_most=MOST_SECONDS),
        Finding(f"{name}: so much later, mean, s", later["mean"]),
    ]


def _first_call(url: str) -> float:
    began = time.perf_counter()
    with IdClient(url, timeout=30.0) as client:
        client.next_id(TAG)
        return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main(prove, __doc__, "clients", DEFAULT))
