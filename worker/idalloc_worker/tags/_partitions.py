"""Which partition owns an ordered tag: the same arithmetic in every worker, of every version.

A tag that changed its partition and came back would meet the buffers, and with them the lower ids,
that its old owner still holds. So there is no ring whose queues can change: the number of
partitions and the hash are constants, and no release may change them.
"""

from typing import Any, Final
from zlib import crc32

PARTITIONS: Final = 8

QUEUES: Final = tuple(f"id.ordered.{partition}" for partition in range(PARTITIONS))
"""By partition."""

QUEUE_ARGUMENTS: Final = {"x-queue-type": "classic", "x-single-active-consumer": True}
"""What no policy can set: the broker gives the queue's messages to one of its consumers.

Classic, where a virtual host's default is something else: a quorum queue takes its messages away
from a consumer that lives on (for one of a higher priority, or while a node seems to be down), and
may come back to it, which the consumer does not notice.
"""


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
    """With what a worker consumes a partition."""
    return {"x-priority": precedence(worker, partition), _CANCEL_ON_RESTART: True}
