"""Which partition owns an ordered tag: the same arithmetic in every worker, of every version.

A tag that changed its partition and came back would meet the buffers, and with them the lower ids,
that its old owner still holds. So there is no ring whose queues can change: the number of
partitions and the hash are constants, and no release may change them.
"""

from typing import Any, Final
from zlib import crc32

from idalloc_schemas import ORDERED_QUEUE_PREFIX

PARTITIONS: Final = 8

QUEUES: Final = tuple(f"{ORDERED_QUEUE_PREFIX}{partition}" for partition in range(PARTITIONS))
"""By partition."""

SINGLE_ACTIVE: Final = {"x-single-active-consumer": True}
"""What no policy can set: the broker gives the queue's messages to one of its consumers."""

QUEUE_ARGUMENTS: Final = {"x-queue-type": "classic", **SINGLE_ACTIVE}
"""Of a queue that is to be a classic one, whatever the virtual host's default is."""

SOON_GIVEN_UP: Final = {"x-consumer-disconnected-timeout": 1000}
"""Of a quorum queue, in milliseconds: how long it waits for a consumer whose node it cannot reach.

RabbitMQ 4.3 waits a minute otherwise, and delivers to nobody else meanwhile; earlier releases do
not wait, and ignore it. An argument, since they refuse a policy with a key that they do not know.
"""

QUORUM_ARGUMENTS: Final = {"x-queue-type": "quorum", **SINGLE_ACTIVE, **SOON_GIVEN_UP}
"""Of a queue that survives a node."""

HIGHEST_PRECEDENCE: Final = 999

_CANCEL_ON_RESTART: Final = "x-cancel-on-ha-failover"
"""What has RabbitMQ 3 cancel a consumer whose queue's process has ended.

Otherwise it has each consumer consume again by itself, in any order, so that the queue goes to
another one, and perhaps back later, and nobody is told. RabbitMQ 4 always cancels.
"""


def partition_of(app_tag: str) -> int:
    """Tell the partition of a tag."""
    return crc32(app_tag.encode()) % PARTITIONS


def precedence(worker: str, partition: int) -> int:
    """How much a worker wants a partition that has lost its owner: its consumer's `x-priority`.

    Different for each pair, so that the partitions of a worker that ends spread over the others.
    """
    return crc32(f"{partition} {worker}".encode()) % (HIGHEST_PRECEDENCE + 1)


def consumer_arguments(worker: str, partition: int) -> dict[str, Any]:
    """With what a worker consumes a partition whose queue is a classic one."""
    return {"x-priority": precedence(worker, partition), _CANCEL_ON_RESTART: True}


QUORUM_CONSUMER_ARGUMENTS: Final = {"x-consumer-timeout": 30 * 60 * 1000}
"""With what a worker consumes a partition whose queue is a quorum queue.

Without `x-priority`: RabbitMQ 4 would stop deliveries to the owner as soon as a worker that wants
the partition more comes, until all is acknowledged, which never is (`ordered/_fences.py`). The time
is what holds anyway; RabbitMQ 4.3 refuses the argument for a classic queue, as RabbitMQ 3 refuses
the other one for a quorum queue: that is how a worker that may not declare learns what there is.
"""
