"""A worker does with the channels that it may have, and learns how many these are."""

from types import SimpleNamespace

import pytest
from pika.exceptions import (
    ConnectionClosedByBroker,
    ProbableAccessDeniedError,
    StreamLostError,
)

from idalloc_client.amqp._reason import describe
from idalloc_worker.requests._channel_budget import ChannelBudget

TOO_MANY = ConnectionClosedByBroker(
    530, "NOT_ALLOWED - number of channels opened for user 'u' has reached the maximum allowed"
)


def connection(channel_max: int = 2047) -> SimpleNamespace:
    return SimpleNamespace(params=SimpleNamespace(channel_max=channel_max))


@pytest.mark.parametrize(
    ("agreed", "used"), [(0, 6), (2047, 6), (6, 6), (5, 5), (4, 2), (2, 2), (1, 1)]
)
def test_what_both_ends_agreed_on(agreed: int, used: int) -> None:
    """A third channel alone would be of no use: ordered tags take two."""
    budget = ChannelBudget()
    budget.begin(connection(agreed))
    assert budget.channels == used
    assert not budget.learned


def test_a_limit_of_the_user_is_learned() -> None:
    """Each connection that ends by it has one channel too many; the last one is kept."""
    budget, used = ChannelBudget(), list[int]()
    for _ in range(4):
        budget.begin(connection())
        used.append(budget.channels)
        budget.on_lost(TOO_MANY)
    assert used == [6, 5, 2, 1]
    assert budget.learned
    budget.forget()
    budget.begin(connection())
    assert budget.channels == 6


def test_no_connection_is_risked_for_the_health_of_the_fleet() -> None:
    """A worker that lacks only the channel for it serves all ids."""
    budget = ChannelBudget()
    budget.begin(connection())
    budget.on_lost(TOO_MANY)
    assert not budget.learned


@pytest.mark.parametrize(
    "reason", [StreamLostError(), ConnectionClosedByBroker(320, "CONNECTION_FORCED - channel")]
)
def test_other_ends_teach_nothing(reason: Exception) -> None:
    budget = ChannelBudget()
    budget.begin(connection())
    budget.on_lost(reason)
    assert not budget.learned


def test_it_is_tried_again_ever_more_rarely() -> None:
    budget = ChannelBudget()
    pauses = [budget.next_retry() for _ in range(12)]
    assert min(pauses) >= 30
    assert 1800 <= pauses[-1] <= 3600


@pytest.mark.parametrize(
    "told",
    [
        "vhost nonesuch not found",
        "connection refused for user 'u': user connection limit (0) is reached",
        "access to vhost 'v' refused for user 'u'",
    ],
)
def test_why_a_connection_is_refused_is_told(told: str) -> None:
    """A limit and a missing virtual host look the same to pika."""
    inner = ConnectionClosedByBroker(530, f"NOT_ALLOWED - {told}")
    assert describe(ProbableAccessDeniedError(repr(inner))).endswith(f"({told})")
