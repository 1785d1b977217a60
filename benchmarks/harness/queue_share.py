"""Tells how much of the broker's work is that of one queue, which no second core can help.

RabbitMQ counts the work of each of its processes in reductions, about a function call each. They
are no measure of time, but of how a rate's CPU time is shared among queue, channels and readers.
"""

import time
from collections.abc import Mapping
from urllib.parse import urlsplit

from devstack import Management
from idalloc_schemas import ALLOC_QUEUE

_REPORTED = 1.5  # seconds: longer than the brokers of our tests take to tell their counts

Work = Mapping[tuple[str, str], int]
"""Reductions until now, by kind and name of what did them."""


def broker_work(management_url: str, amqp_url: str, *, latest: bool = True) -> Work:
    """Read what was done for a virtual host; waits until the `latest` is told."""
    if latest:
        time.sleep(_REPORTED)
    management = Management(management_url)
    vhost = urlsplit(amqp_url).path[1:]
    paths = {
        "queue": f"/api/queues/{vhost}",
        "channel": f"/api/vhosts/{vhost}/channels",
        "connection": f"/api/vhosts/{vhost}/connections",
    }
    return {
        (kind, one["name"]): one.get("reductions", 0)
        for kind, path in paths.items()
        for one in management.get(path)
    }


def queue_share(before: Work, after: Work, queue: str = ALLOC_QUEUE) -> float:
    """Return the part of the work that one queue did; what has gone meanwhile does not count."""
    done = {name: now - before.get(name, 0) for name, now in after.items()}
    return done["queue", queue] / sum(done.values())
