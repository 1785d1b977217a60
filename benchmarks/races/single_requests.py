"""Requests of one id each, 100 in flight, and what each costs.

One plain pika connection sends them to idalloc's worker, to one that only parses JSON and replies,
and to two that do the same on aio-pika and on FastStream. Then idalloc's client sends them to its
worker: as many tasks ask for a tag each, whose calls do not gather, or for one tag, whose calls do.
"""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import cycle

from benchmarks.harness.command import main
from benchmarks.harness.runner import Bar, BenchmarkError, Plan, Race, Report, run
from benchmarks.harness.site import TAG, Site, one_worker, peer
from benchmarks.harness.tasks import rate
from benchmarks.harness.turns import Contender, cpu_figure
from benchmarks.peers.echo_peer import QUEUE as ECHO
from benchmarks.peers.raw_requests import raw_requests
from idalloc_client import AsyncIdClient
from idalloc_schemas import ALLOC_QUEUE

try:
    from benchmarks.peers.aio_pika_worker import QUEUE as AIO_PIKA
    from benchmarks.peers.faststream_peer import QUEUE as FASTSTREAM
except ImportError as error:
    _missing = error.name
else:
    _missing = None

IN_FLIGHT = 100
TITLE = f"Requests of one id each, {IN_FLIGHT} in flight"
DEFAULT = Plan(rounds=5, seconds=2.0, budget=90.0)

_OURS, _ECHO = "idalloc", "echo"
_AIO_PIKA, _FASTSTREAM = "aio-pika", "FastStream"
_BOTH_ENDS, _GATHERED = "idalloc, both ends", "the same, gathered"
_PER = "request"
BARS = (
    Bar(_OURS, (_ECHO,), 1.4),
    Bar(_OURS, (_AIO_PIKA,), 4),
    Bar(_OURS, (_FASTSTREAM,), 4),
    Bar(_OURS, (_ECHO,), 0.3, at_least=False, of=cpu_figure("worker", _PER)),
    Bar(_BOTH_ENDS, (_ECHO,), 0.6, at_least=False, of=cpu_figure("broker", _PER)),
    Bar(_GATHERED, (_ECHO,), 0.6, at_least=False, of=cpu_figure("broker", _PER)),
)


def measure(plan: Plan) -> Report:
    """Let the workers take turns."""
    if _missing is not None:
        raise BenchmarkError(f"{_missing} is missing; install it: pip install 'idalloc[bench]'")
    with (
        one_worker() as site,
        peer("echo", site.amqp_url) as echo,
        peer("aio-pika worker", site.amqp_url) as aio_pika,
        peer("faststream", site.amqp_url) as faststream,
        _both_ends(site) as both_ends,
        ExitStack() as closing,
    ):

        def contender(name: str, queue: str, **processes: list[int]) -> Contender:
            requests = closing.enter_context(raw_requests(site.amqp_url, queue, [TAG]))
            return Contender(name, partial(requests.rate, IN_FLIGHT), processes)

        contenders = [
            contender(_OURS, ALLOC_QUEUE),
            contender(_ECHO, ECHO, worker=[echo]),
            contender(_AIO_PIKA, AIO_PIKA, worker=[aio_pika]),
            contender(_FASTSTREAM, FASTSTREAM, worker=[faststream]),
            *both_ends,
        ]
        race = Race(TITLE, "requests/s", contenders, BARS, site.processes, _PER, alternating="all")
        return run(race, plan)


@contextmanager
def _both_ends(site: Site) -> Iterator[list[Contender]]:
    with asyncio.Runner() as runner:
        client = AsyncIdClient(site.amqp_url)
        tags = cycle(site.add_tags("t", IN_FLIGHT))

        def a_tag_each(seconds: float) -> float:
            return runner.run(rate(lambda: client.next_id(next(tags)), seconds, IN_FLIGHT))

        def one_tag(seconds: float) -> float:
            return runner.run(rate(lambda: client.next_id(TAG), seconds, IN_FLIGHT))

        yield [Contender(_BOTH_ENDS, a_tag_each), Contender(_GATHERED, one_tag)]
        runner.run(client.close())


if __name__ == "__main__":
    sys.exit(main(measure, __doc__, DEFAULT))
