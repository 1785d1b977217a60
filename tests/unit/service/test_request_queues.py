"""Queues that are missing are made; those that are there are taken as they are."""

import logging
from types import SimpleNamespace
from typing import Any

import pytest
from pika.exceptions import ChannelClosedByBroker, StreamLostError

from idalloc_schemas import ALLOC_QUEUE, HEALTH_QUEUE
from idalloc_worker.service._request_queues import RequestQueues

MISSING = "NOT_FOUND - no queue '%s' in vhost 'idalloc'"


def declared_after(*reasons: BaseException) -> list[tuple[str, dict[str, Any]]]:
    """Tell what is declared on the channel that follows those that ended so."""
    calls: list[tuple[str, dict[str, Any]]] = []
    channel: Any = SimpleNamespace(
        queue_declare=lambda queue, **given: calls.append((queue, given))
    )
    queues = RequestQueues(lambda: 0.0)
    for reason in reasons:
        queues.on_lost(reason)
    queues.declare_if_missing(channel)
    queues.declare_if_missing(channel)  # once
    return calls


@pytest.mark.parametrize("queue", [ALLOC_QUEUE, HEALTH_QUEUE])
def test_where_one_is_missing_both_are_declared(queue: str) -> None:
    """A fresh virtual host costs a worker one channel. Its default says of which type they are."""
    reason = ChannelClosedByBroker(404, MISSING % queue)
    assert declared_after(reason) == [
        (each, {"durable": True}) for each in (ALLOC_QUEUE, HEALTH_QUEUE)
    ]


@pytest.mark.parametrize("queue", [ALLOC_QUEUE, HEALTH_QUEUE])
def test_where_one_is_of_another_type_the_other_one_is_declared(queue: str) -> None:
    """It would be refused, again and again."""
    missing = ChannelClosedByBroker(404, MISSING % queue)
    refused = ChannelClosedByBroker(406, "inequivalent arg 'x-queue-type' for queue 'id.'")
    assert declared_after(missing, refused, missing) == [(queue, {"durable": True})]


@pytest.mark.parametrize(
    "reason",
    [
        StreamLostError("gone"),
        ChannelClosedByBroker(406, "inequivalent arg 'x-queue-type' for queue 'id.alloc'"),
    ],
)
def test_nothing_is_declared_for_other_reasons(reason: BaseException) -> None:
    """Somebody else has declared it otherwise meanwhile, say."""
    assert declared_after(reason) == []


def test_a_queue_whose_node_is_down_is_told_and_not_declared(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A classic queue cannot be made anew elsewhere: the broker answers with 404 again."""
    text = (
        "NOT_FOUND - home node 'rabbit@b' of durable queue 'id.alloc' in vhost 'idalloc' "
        "is down or inaccessible"
    )
    with caplog.at_level(logging.WARNING):
        assert declared_after(ChannelClosedByBroker(404, text)) == []
    assert "rabbit@b" in caplog.text
