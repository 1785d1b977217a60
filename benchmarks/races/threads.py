"""64 threads that share one IdClient, beside 64 threads with a tutorial-six RPC client each.

The tutorial's clients call the tutorial's server. For information they also call idalloc's worker,
which tells what the client alone is worth, and a few threads draw each id from MySQL.
"""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

from benchmarks.harness.command import main
from benchmarks.harness.crowd import rate
from benchmarks.harness.environment import durability
from benchmarks.harness.runner import Bar, Plan, Race, Report, run
from benchmarks.harness.site import TAG, Site, one_worker, peer
from benchmarks.harness.turns import Contender
from benchmarks.peers.mysql_peer import CONNECTIONS, mysql_ids
from benchmarks.peers.tutorial_peer import TutorialClient
from idalloc_client import IdClient
from idalloc_schemas import ALLOC_QUEUE

THREADS = 64
TITLE = f"{THREADS} threads, one id at a time"
DEFAULT = Plan(rounds=5, seconds=2.0, budget=90.0)

_OURS = "IdClient"
_TUTORIAL = "tutorial-six clients"
_TUTORIAL_ON_WORKER = "the same on idalloc's worker"
_MYSQL = f"MySQL, a flushed UPDATE per id, {CONNECTIONS} threads"
BARS = (Bar(_OURS, (_TUTORIAL,), 10), Bar(_OURS, (_MYSQL,), None))

_REQUEST = f'{{"app_tag":"{TAG}"}}'


def measure(plan: Plan) -> Report:
    """Run both kinds of clients, the tutorial's on both kinds of server."""
    with (
        one_worker() as site,
        peer("tutorial", site.amqp_url) as tutorial,
        _contenders(site, tutorial) as contenders,
    ):
        notes = (durability(site.database),)
        return run(Race(TITLE, "ids/s", contenders, BARS, site.processes, "id", notes), plan)


@contextmanager
def _contenders(site: Site, tutorial: int) -> Iterator[list[Contender]]:
    with (
        IdClient(site.amqp_url) as ours,
        mysql_ids(site.database) as rows,
        ExitStack() as closing,
    ):
        clients = [TutorialClient(site.amqp_url) for _ in range(THREADS)]
        for client in clients:
            closing.callback(client.close)

        def on(queue: str, body: str, seconds: float) -> float:
            for client in clients:
                client.queue = queue
            return rate([partial(client.call, body) for client in clients], seconds)

        yield [
            Contender(_OURS, partial(rate, [partial(ours.next_id, TAG)] * THREADS)),
            Contender(_TUTORIAL, partial(on, "rpc_queue", "30"), {"worker": [tutorial]}),
            Contender(_TUTORIAL_ON_WORKER, partial(on, ALLOC_QUEUE, _REQUEST)),
            Contender(_MYSQL, partial(rate, [ids.next_id for ids in rows])),
        ]


if __name__ == "__main__":
    sys.exit(main(measure, __doc__, DEFAULT))
