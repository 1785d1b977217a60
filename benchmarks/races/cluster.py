"""Ids through a cluster of three brokers beside ids through one.

The cluster is that of `IDALLOC_CLUSTER_*`, or three nodes of the RabbitMQ that is installed; the
one broker is the suite's. Each way has a virtual host, a database, three worker processes and
three clients, on a cluster one at each node. Half of a turn is lone calls, the other half 100 in
flight, a tag each. It is no part of `make bench`: a cluster takes half a minute to start.
"""

import asyncio
import secrets
import sys
from collections.abc import Awaitable, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import cycle
from urllib.parse import urlsplit

from benchmarks.harness.command import main
from benchmarks.harness.machine import listeners
from benchmarks.harness.runner import Bar, Plan, Race, Report, run
from benchmarks.harness.site import STEP, fleet_site
from benchmarks.harness.tasks import rate
from benchmarks.harness.turns import Contender, Sample, cpu_figure
from benchmarks.races.lone_call import async_latency
from devstack import Database, scratch_database
from devstack.clusters import BrokerCluster, running_rabbitmq_cluster
from devstack.workers import Fleet
from idalloc_client import AsyncIdClient
from idalloc_schemas import LOCAL_EXCHANGE

IN_FLIGHT = 100
TITLE = f"Three brokers beside one, a lone call and {IN_FLIGHT} in flight"
DEFAULT = Plan(rounds=7, seconds=6.0, budget=300.0)

_SINGLE = "one broker, classic queue"
_CLASSIC, _QUORUM, _LOCAL = "cluster, classic queue", "cluster, quorum queue", "cluster, id.local"
_LONE = "lone call, us, median"
_PER = "id"
_PROCESSES = 3
_TAGS = [f"t{number}" for number in range(IN_FLIGHT)]


def measure(plan: Plan) -> Report:
    """Let one broker and the ways of a cluster take turns."""
    with asyncio.Runner() as runner, ExitStack() as stack:
        fleet, database, servers = stack.enter_context(fleet_site())
        cluster = stack.enter_context(running_rabbitmq_cluster())

        def contender(name: str, fleet: Fleet, database: Database, urls: list[str]) -> Contender:
            _start(fleet, database)
            exchange = LOCAL_EXCHANGE if name == _LOCAL else ""
            clients = [AsyncIdClient(url, timeout=30.0, exchange=exchange) for url in urls]
            stack.callback(lambda: runner.run(_close(clients)))
            brokers = [pid for url in urls for pid in listeners(urlsplit(url).port or 5672)]
            return Contender(name, partial(_turn, runner, clients), {"broker": brokers})

        def of_cluster(name: str) -> Contender:
            database = stack.enter_context(scratch_database(servers.mysql_url))
            kind = {"quorum": name != _CLASSIC, "local": name == _LOCAL}
            vhost = stack.enter_context(
                cluster.vhost(f"idalloc-benchmark-{secrets.token_hex(6)}", **kind)
            )
            urls = [cluster.node_url(number, vhost) for number in range(len(cluster.names))]
            fleet = stack.enter_context(Fleet(cluster.url(vhost), database.url))
            return contender(name, fleet, database, urls)

        ways = [_CLASSIC, _QUORUM, *([_LOCAL] if _has_local_exchanges(cluster) else [])]
        contenders = [
            contender(_SINGLE, fleet, database, [fleet.amqp_url]),
            *map(of_cluster, ways),
        ]
        return run(Race(TITLE, "ids/s", contenders, _bars(ways), cpu_per=_PER), plan)


def _bars(ways: Sequence[str]) -> list[Bar]:
    """Hold the recommended way to half of one broker's rate; the rest is worth knowing."""
    recommended = ways[-1]
    return [
        *(Bar(way, (_SINGLE,), 0.5 if way == recommended == _LOCAL else None) for way in ways),
        *(Bar(way, (_SINGLE,), None, at_least=False, of=_LONE) for way in ways),
        *(
            Bar(way, (_SINGLE,), None, at_least=False, of=cpu_figure("broker", _PER))
            for way in ways
        ),
    ]


def _has_local_exchanges(cluster: BrokerCluster) -> bool:
    kinds = cluster.management.get("/api/overview")["exchange_types"]
    return any(kind["name"] == "x-local-random" for kind in kinds)


def _start(fleet: Fleet, database: Database) -> None:
    rows = ", ".join(f"('{app_tag}', {STEP})" for app_tag in _TAGS)
    database.query(f"INSERT INTO segments (app_tag, step) VALUES {rows}")
    [worker] = fleet.start(1, ready=False, processes=_PROCESSES)
    worker.wait_for_logs("Serving", _PROCESSES)


def _turn(runner: asyncio.Runner, clients: Sequence[AsyncIdClient], seconds: float) -> Sample:
    pairs = cycle(zip(cycle(clients), _TAGS, strict=False))

    def ask() -> Awaitable[int]:
        client, app_tag = next(pairs)
        return client.next_id(app_tag)

    lone = runner.run(async_latency(ask, seconds / 2))
    return Sample(runner.run(rate(ask, seconds / 2, IN_FLIGHT)), {_LONE: lone})


async def _close(clients: Sequence[AsyncIdClient]) -> None:
    for client in clients:
        await client.close()


if __name__ == "__main__":
    sys.exit(main(measure, __doc__, DEFAULT))
