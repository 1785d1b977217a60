"""One caller cannot use up a tag that others need, on a real worker."""

import pytest

from devstack import Database
from devstack.workers import Fleet
from tests.foreign import ForeignClient
from tests.integration.stores import mark_of
from tests.integration.test_worker import ask
from tests.integration.test_worker_settings import ORDER, add, caller, user

__all__ = ["caller", "user"]

MILLION = b'{"app_tag":"order","count":1000000}'
ATTEMPTS = 300


@pytest.fixture
def served(fleet: Fleet) -> Fleet:
    fleet.start()
    return fleet


@pytest.mark.usefixtures("served")
def test_a_small_space_is_not_emptied(caller: ForeignClient, database: Database, user: str) -> None:
    """A caller that asks for all it can gets little, and is told when to come again.

    Those who are somebody else to the broker get theirs, and single ids are to be had by all.
    """
    add(database, 1000, ceiling=2**31 - 1)
    replies = [ask(caller, MILLION) for _ in range(ATTEMPTS)]
    granted = [reply for reply in replies if reply["resp_code"] == 0]
    refused = [reply for reply in replies if reply["resp_code"] != 0]
    assert 1 <= len(granted) < ATTEMPTS / 2
    assert {reply["resp_code"] for reply in refused} == {-6}
    assert all(reply["retry_after_ms"] > 0 for reply in refused)
    assert mark_of(database, "order") < ATTEMPTS * 1_000_000 / 2
    assert ask(caller, MILLION, user_id=user)["resp_code"] == 0
    assert ask(caller, ORDER)["resp_code"] == 0


@pytest.mark.usefixtures("served")
def test_a_row_has_limits_of_its_own(caller: ForeignClient, database: Database, user: str) -> None:
    """Also where there is no ceiling."""
    add(database, 10, max_count=500, user_rate=1)
    too_many = ask(caller, b'{"app_tag":"order","count":501}')
    assert too_many["resp_code"] == -2
    assert too_many["msg"] == "count: must be at most 500 for this app_tag"
    batch = b'{"app_tag":"order","count":500}'
    assert ask(caller, batch)["resp_code"] == 0
    assert ask(caller, batch)["resp_code"] == -6
    assert ask(caller, batch, user_id=user)["resp_code"] == 0
