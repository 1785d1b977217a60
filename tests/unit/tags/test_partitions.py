"""The partition of a tag: fixed for ever."""

from collections import Counter

import pytest

from idalloc_worker.tags._partitions import (
    PARTITIONS,
    QUEUES,
    consumer_arguments,
    partition_of,
    precedence,
)


@pytest.mark.parametrize(
    ("app_tag", "partition"), [("order", 0), ("test_business", 6), ("a", 3), ("~" * 32, 7)]
)
def test_a_tag_keeps_its_partition_in_every_release(app_tag: str, partition: int) -> None:
    """Workers of two releases that disagreed would give one tag two owners."""
    assert partition_of(app_tag) == partition


def test_tags_spread_over_all_partitions() -> None:
    """No partition gets more than twice its share of tags with common prefixes."""
    tags = Counter(partition_of(f"service-{number}") for number in range(8000))
    assert set(tags) == set(range(PARTITIONS))
    assert max(tags.values()) < 2000


def test_the_queues_are_those_of_the_partitions() -> None:
    """Their names are part of what operators grant rights on."""
    assert QUEUES[0] == "id.ordered.0"
    assert len(QUEUES) == PARTITIONS == 8


def test_workers_want_different_partitions() -> None:
    """Those of a worker that ends do not all go to the same other one."""
    workers = [f"idalloc worker host:{pid}" for pid in range(4000, 4004)]
    heirs = {max(workers, key=lambda w: precedence(w, p)) for p in range(PARTITIONS)}
    assert len(heirs) > 1


def test_an_owner_is_told_when_the_process_of_its_queue_ends() -> None:
    """RabbitMQ 3 would consume again for it, and perhaps give the queue to another one."""
    arguments = consumer_arguments("idalloc worker host:1", 3)
    assert arguments["x-cancel-on-ha-failover"] is True
    assert arguments["x-priority"] == precedence("idalloc worker host:1", 3)
