"""Workers whose connection may have fewer channels than they want serve what they can."""

import json
import secrets
from collections.abc import Iterator
from urllib.parse import quote, urlsplit

import pytest

from devstack import Database, Management
from devstack.ordered import add_ordered_tag
from devstack.workers import Fleet
from idalloc_client import IdClient
from tests.foreign import ForeignClient


@pytest.fixture
def limited(vhost: str, management_url: str, database: Database) -> Iterator[Fleet]:
    """Workers that log in as a user of the test's own, with two channels at a time."""
    name = f"idalloc-{secrets.token_hex(4)}"
    management = Management(management_url)
    management.put(f"/api/users/{name}", {"password": "secret", "tags": ""})
    try:
        host = urlsplit(vhost).path.removeprefix("/")
        rights = {"configure": ".*", "write": ".*", "read": ".*"}
        management.put(f"/api/permissions/{quote(host, safe='')}/{name}", rights)
        management.put(f"/api/user-limits/{name}/max-channels", {"value": 2})
        place = urlsplit(vhost).netloc.rpartition("@")[2]
        url = urlsplit(vhost)._replace(netloc=f"{name}:secret@{place}").geturl()
        with Fleet(url, database.url) as running:
            yield running
    finally:
        management.delete(f"/api/users/{name}")


def refusal(amqp_url: str, app_tag: str) -> str:
    """Tell why there is no id."""
    with ForeignClient(amqp_url) as caller:
        answer = caller.call("id.alloc", json.dumps({"app_tag": app_tag}).encode(), timeout=30)
        assert answer is not None
        return str(json.loads(answer[0])["msg"])


@pytest.mark.parametrize("channels", [1, 3])
def test_a_connection_with_few_channels(fleet: Fleet, database: Database, channels: int) -> None:
    """It says what it does without, and a request for an ordered tag is told, not kept."""
    add_ordered_tag(database, "invoice", step=10)
    limited = Fleet(f"{fleet.amqp_url}?channel_max={channels}", database.url)
    with limited:
        (worker,) = limited.start(ready=False)
        worker.wait_for_log("Serving")
        worker.wait_for_log("invoice is ordered")
        worker.wait_for_log("raise channel_max")
        with IdClient(fleet.amqp_url) as client:
            assert client.next_id("test_business", timeout=30) > 0
        assert "channel_max" in refusal(fleet.amqp_url, "invoice")
        assert "Traceback" not in worker.log.read_text()
        assert worker.terminate() == 0


def test_a_connection_without_a_channel_for_the_health_of_the_fleet(
    fleet: Fleet, database: Database
) -> None:
    """It serves all ids, and answers for itself what the fleet is asked."""
    add_ordered_tag(database, "invoice", step=10)
    with Fleet(f"{fleet.amqp_url}?channel_max=5", database.url) as limited:
        (worker,) = limited.start()
        worker.wait_for_log("invoice is ordered")
        with IdClient(fleet.amqp_url) as client:
            assert client.next_id("invoice", timeout=30) > 0
            (reply,) = client.fleet_health("invoice", within=5.0)
            assert reply.tags[0].ids_handed_out > 0
        assert worker.count_in_log("serves no ordered tags") == 0


def test_a_user_with_few_channels(limited: Fleet, vhost: str) -> None:
    """The broker ends the connection that has one too many; the next one does without."""
    (worker,) = limited.start(ready=False)
    worker.wait_for_log("raise channel_max")
    with IdClient(vhost) as client:
        assert client.next_id("test_business", timeout=30) > 0
    assert worker.terminate() == 0
