"""A real worker goes by what the row of a tag says, and by what it says next."""

import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from pika.exceptions import ChannelClosedByBroker

from devstack import Database
from devstack.workers import Fleet
from idalloc_worker.store._migrate import migrate
from tests.foreign import ForeignClient
from tests.integration.stores import TABLE, address_of, mark_of, remake_table
from tests.integration.test_tag_settings_command import FOUR_COLUMNS
from tests.integration.test_worker import Reply, ask

ORDER = b'{"app_tag":"order"}'


@pytest.fixture
def caller(fleet: Fleet) -> Iterator[ForeignClient]:
    with ForeignClient(fleet.amqp_url) as client:
        yield client


@pytest.fixture
def user(fleet: Fleet) -> str:
    """Name the user of the connection, as the broker knows it."""
    return unquote(urlsplit(fleet.amqp_url).username or "")


def add(database: Database, step: int, **settings: object) -> None:
    columns = {"app_tag": "order", "step": step, **settings}
    database.query(
        f"INSERT INTO {TABLE} ({', '.join(columns)}) VALUES ({', '.join(['%s'] * len(columns))})",
        *columns.values(),
    )


def until(caller: ForeignClient, code: int, **properties: Any) -> Reply:
    """Ask until the answer has this code."""
    for _ in range(500):
        reply = ask(caller, ORDER, **properties)
        if reply["resp_code"] == code:
            return reply
        time.sleep(0.02)
    raise AssertionError(reply)


def test_only_listed_users_draw(
    fleet: Fleet, caller: ForeignClient, database: Database, user: str
) -> None:
    """The broker vouches for a user; whoever it does not vouch for is forbidden to draw."""
    add(database, 10, allowed_users=f"billing {user}")
    fleet.start()
    forbidden = ask(caller, ORDER)
    assert forbidden["resp_code"] == -5
    assert "user_id" in forbidden["msg"]
    assert mark_of(database, "order") == 0
    assert ask(caller, ORDER, user_id=user)["id"] == 1
    assert ask(caller, ORDER)["resp_code"] == -5
    with pytest.raises(ChannelClosedByBroker):  # RabbitMQ lets nobody pass for somebody else
        caller.call("id.alloc", ORDER, user_id="billing")
    assert ask(caller, ORDER, user_id=user)["id"] == 2


def test_a_list_of_users_is_changed_under_a_running_worker(
    fleet: Fleet, caller: ForeignClient, database: Database, user: str
) -> None:
    """Who is added draws without a restart, also while there are ids in memory."""
    add(database, 1000, allowed_users="billing")
    fleet.start()
    assert ask(caller, ORDER, user_id=user)["resp_code"] == -5
    database.query(f"UPDATE {TABLE} SET allowed_users = 'billing {user}'")
    assert until(caller, 0, user_id=user)["id"] == 1
    assert ask(caller, ORDER)["resp_code"] == -5
    database.query(f"UPDATE {TABLE} SET allowed_users = NULL")
    assert until(caller, 0)["id"] == 2


def test_a_ceiling(fleet: Fleet, caller: ForeignClient, database: Database) -> None:
    """Every id up to the ceiling, then EXHAUSTED, with a warning at each threshold."""
    add(database, 7, ceiling=99)
    (worker,) = fleet.start()
    assert [ask(caller, ORDER)["id"] for _ in range(99)] == list(range(1, 100))
    assert ask(caller, ORDER)["resp_code"] == -4
    assert mark_of(database, "order") == 100
    log = worker.log.read_text()
    assert log.count("of the id space of order is used up") == 3
    database.query(f"UPDATE {TABLE} SET ceiling = 120 WHERE app_tag = 'order'")
    assert until(caller, 0)["id"] == 100


def test_segments_grow_with_consumption(
    fleet: Fleet, caller: ForeignClient, database: Database
) -> None:
    """A tag with step 10 needs few refills for a thousand ids; with a fixed step it needs many."""
    add(database, 10)
    database.query(f"INSERT INTO {TABLE} (app_tag, step, target_cover) VALUES ('fixed', 10, 0)")
    fleet.start()
    refills = []
    for tag in ("order", "fixed"):
        before = ask(caller, b"{}", "id.health")["counters"].get("refills", 0)
        body = json.dumps({"app_tag": tag}).encode()
        assert [ask(caller, body)["id"] for _ in range(1000)] == list(range(1, 1001))
        refills.append(ask(caller, b"{}", "id.health")["counters"]["refills"] - before)
    assert refills[0] <= 8
    assert refills[1] >= 100


def test_a_table_is_migrated_under_a_running_worker(
    fleet: Fleet, caller: ForeignClient, database: Database
) -> None:
    """A worker runs on four columns, and takes the new ones in at its next refill."""
    remake_table(database, FOUR_COLUMNS)
    add(database, 5, max_id=0)
    fleet.start()
    assert ask(caller, ORDER)["id"] == 1
    migrate(address_of(database), TABLE)
    assert ask(caller, ORDER)["id"] == 2
    database.query(f"UPDATE {TABLE} SET ceiling = 3")
    assert until(caller, -4)["msg"] == "the id space of this app_tag is used up"
    assert ask(caller, ORDER)["resp_code"] == -4


def test_a_setting_that_cannot_be_names_its_column(
    fleet: Fleet, caller: ForeignClient, database: Database
) -> None:
    """In the log: the caller learns that the row is at fault, and not what is in it."""
    add(database, 5, target_cover=-1)
    (worker,) = fleet.start()
    refused = ask(caller, ORDER)
    assert refused["resp_code"] == -8
    assert "worker's log" in refused["msg"]
    assert "target_cover" not in refused["msg"]
    assert "target_cover is -1" in worker.log.read_text()
