"""256 asyncio tasks that each await one id at a time, from one worker process.

Beside them the same tasks on aio-pika's RPC pattern, on FastStream's RPC, on INCR of redis-py's
asyncio client, and on futures that a callback resolves in batches, which is the floor.
"""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

from benchmarks.harness.command import main
from benchmarks.harness.runner import Bar, BenchmarkError, Plan, Race, Report, run
from benchmarks.harness.site import TAG, Site, one_worker, peer, redis_server
from benchmarks.harness.tasks import TASKS, Ask, Floor, rate
from benchmarks.harness.turns import Contender, cpu_figure
from idalloc_client import AsyncIdClient

try:
    import redis as redis_sync
    import redis.asyncio as redis

    from benchmarks.peers.aio_pika_peer import AioPikaRpc
    from benchmarks.peers.faststream_peer import FastStreamRpc
except ImportError as error:
    _missing = error.name
else:
    _missing = None

TITLE = f"{TASKS} asyncio tasks, one id at a time"
DEFAULT = Plan(rounds=9, seconds=1.0, budget=90.0)

_OURS, _AIO_PIKA, _REDIS, _FLOOR = "AsyncIdClient", "aio-pika RPC", "redis-py INCR", "floor"
_FASTSTREAM = "FastStream RPC"
_PER = "id"
BARS = (
    Bar(_OURS, (_FLOOR,), 1.6, at_least=False, of=cpu_figure("client", _PER)),
    Bar(_OURS, (_AIO_PIKA,), 20),
    Bar(_OURS, (_REDIS,), 15),
    Bar(_OURS, (_FLOOR,), 0.5, quiet_limit=0.65),
    Bar(_OURS, (_FASTSTREAM,), None),  # which asks for one id at a time, whoever waits
)


def measure(plan: Plan) -> Report:
    """Run all contenders on one loop."""
    if _missing is not None:
        raise BenchmarkError(f"{_missing} is missing; install it: pip install 'idalloc[bench]'")
    with (
        one_worker() as site,
        peer("aio-pika", site.amqp_url) as aio_pika,
        peer("faststream", site.amqp_url) as faststream,
        redis_server() as (port, redis_pid),
        asyncio.Runner() as runner,
        _contenders(runner, site, port, aio_pika, faststream) as contenders,
    ):
        processes = site.with_processes(redis=redis_pid)
        notes = (durability(port),)
        race = Race(TITLE, "ids/s", contenders, BARS, processes, _PER, notes, (_OURS, _FLOOR))
        return run(race, plan)


def durability(port: int) -> str:
    """Ask Redis how it keeps what it has."""
    with redis_sync.Redis(port=port, decode_responses=True) as store:
        version = store.info("server")["redis_version"]
        kept = {**store.config_get("appendonly"), **store.config_get("save")}
    told = ", ".join(f"{name} {value or 'never'}" for name, value in kept.items())
    return f"Redis {version} as it is without a configuration: {told}"


@contextmanager
def _contenders(
    runner: asyncio.Runner, site: Site, redis_port: int, aio_pika: int, faststream: int
) -> Iterator[list[Contender]]:
    ours = AsyncIdClient(site.amqp_url)
    rpc = runner.run(AioPikaRpc.open(site.amqp_url))
    fast = runner.run(FastStreamRpc.open(site.amqp_url))
    store = redis.Redis(port=redis_port, max_connections=TASKS)

    def contender(name: str, ask: Ask, **processes: list[int]) -> Contender:
        return Contender(name, lambda seconds: runner.run(rate(ask, seconds)), processes)

    async def close() -> None:
        await ours.close()
        await rpc.close()
        await fast.close()
        await store.aclose()

    with ExitStack() as closing:
        closing.callback(lambda: runner.run(close()))
        yield [
            contender(_OURS, partial(ours.next_id, TAG)),
            contender(_AIO_PIKA, partial(rpc.next_id, TAG), worker=[aio_pika]),
            contender(_FASTSTREAM, partial(fast.next_id, TAG), worker=[faststream]),
            contender(_REDIS, partial(store.incr, TAG)),
            contender(_FLOOR, Floor().next_id),
        ]


if __name__ == "__main__":
    sys.exit(main(measure, __doc__, DEFAULT))
