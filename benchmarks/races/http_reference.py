"""256 callers, one id at a time: asyncio tasks of one process, beside wrk on a service over HTTP.

--reference-url URL says where such a service gives one id for each GET, on this machine: the
double-buffer allocator in Go whose table idalloc kept, http://127.0.0.1:8880/alloc?app_tag=TAG,
or another.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from functools import partial
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

from benchmarks.harness import command as _command
from benchmarks.harness.machine import listeners
from benchmarks.harness.runner import Bar, BenchmarkError, Plan, Race, Report, run
from benchmarks.harness.site import TAG, one_worker
from benchmarks.harness.tasks import TASKS, rate
from benchmarks.harness.turns import Contender, Sample, cpu_figure
from benchmarks.peers import wrk as _wrk
from idalloc_client import AsyncIdClient

TITLE = f"{TASKS} callers in one process, one id at a time"
DEFAULT = Plan(rounds=5, seconds=2.0, budget=60.0)

_OURS, _REFERENCE = "AsyncIdClient", f"HTTP service, wrk -c{TASKS}"
_PER = "id"
BARS = (Bar(_OURS, (_REFERENCE,), 3),)

_TIMEOUT = 5.0  # seconds


def measure(url: str | None, plan: Plan) -> Report:
    """Let both take turns."""
    service = check(url)
    with one_worker() as site, asyncio.Runner() as runner:
        client = AsyncIdClient(site.amqp_url)
        ask = partial(client.next_id, TAG)
        contenders = [
            Contender(_OURS, lambda seconds: runner.run(rate(ask, seconds))),
            Contender(_REFERENCE, partial(_with_wrk, service), {"client": []}),
        ]
        port = urlsplit(service).port or 80
        processes = {**site.processes, "service": listeners(port)}
        try:
            return run(Race(TITLE, "ids/s", contenders, BARS, processes, _PER), plan)
        finally:
            runner.run(client.close())


def _with_wrk(url: str, seconds: float) -> Sample:
    load = _wrk.load(url, TASKS, seconds)
    return Sample(load.rate, {cpu_figure("wrk", _PER): load.cpu_per_answer * 1e6})


def check(url: str | None) -> str:
    """Return an address that gives an id; raises BenchmarkError for none, or one that does not."""
    if url is None:
        raise BenchmarkError("which service? say --reference-url URL")
    if urlsplit(url).scheme != "http":  # else urllib would read files too
        raise BenchmarkError(f"not an address of a service over HTTP: {url}")
    _wrk.program()
    try:
        with urlopen(url, timeout=_TIMEOUT) as answer:
            answer.read()
    except (URLError, OSError, ValueError) as error:
        if isinstance(error, HTTPError):  # it holds the answer's socket
            error.close()
        raise BenchmarkError(f"{url} gives no id: {error}") from error
    return url


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; return what `_command.main` does."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--reference-url")
    given, others = parser.parse_known_args(arguments)
    return _command.main(partial(measure, given.reference_url), __doc__, DEFAULT, others)


if __name__ == "__main__":
    sys.exit(main())
