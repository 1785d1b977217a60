"""Requests of one id each, 100 in flight, from one plain pika connection, and what each costs.

The workers are idalloc's, one that only parses JSON and replies, and two that do the same on
aio-pika and on FastStream.
"""

import sys
from contextlib import ExitStack
from functools import partial

from benchmarks._command import main
from benchmarks._echo_peer import QUEUE as ECHO
from benchmarks._raw_requests import raw_requests
from benchmarks._runner import Bar, BenchmarkError, Contender, Plan, Race, Report, cpu_figure, run
from benchmarks._site import TAG, one_worker, peer
from idalloc_schemas import ALLOC_QUEUE

try:
    from benchmarks._aio_pika_worker import QUEUE as AIO_PIKA
    from benchmarks._faststream_peer import QUEUE as FASTSTREAM
except ImportError as error:
    _missing = error.name
else:
    _missing = None

IN_FLIGHT = 100
TITLE = f"Requests of one id each, {IN_FLIGHT} in flight"
DEFAULT = Plan(rounds=5, seconds=2.0, budget=90.0)

_OURS, _ECHO = "idalloc", "echo"
_AIO_PIKA, _FASTSTREAM = "aio-pika", "FastStream"
_PER = "request"
BARS = (
    Bar(_OURS, (_ECHO,), 1.4),
    Bar(_OURS, (_AIO_PIKA,), 4),
    Bar(_OURS, (_FASTSTREAM,), 4),
    Bar(_OURS, (_ECHO,), 0.7, at_least=False, of=cpu_figure("worker", _PER)),
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
        ]
        return run(Race(TITLE, "requests/s", contenders, BARS, site.processes, _PER), plan)


if __name__ == "__main__":
    sys.exit(main(measure, __doc__, DEFAULT))
