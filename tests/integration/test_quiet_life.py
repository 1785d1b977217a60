"""A worker that nothing happens to: it logs no warning, and has the queues that it needs."""

import secrets

import pytest

from devstack import Database, Management, Stack, scratch_vhost
from devstack.workers import PATIENCE, Fleet
from idalloc_client import IdClient
from idalloc_schemas import FLEET_EXCHANGE, MARKS_STREAM
from tests.waiting import wait_until

pytestmark = pytest.mark.long


def test_two_starts_and_stops_with_an_ordered_tag(stack: Stack, database: Database) -> None:
    """The first start makes the queues, the second finds them; both end without a warning."""
    database.query("INSERT INTO segments (app_tag, step, ordered) VALUES ('order', 100, 1)")
    vhost = f"idalloc-test-{secrets.token_hex(6)}"
    management = Management(stack.management_url)

    def own_queues() -> int:
        named = [queue["name"] for queue in management.get(f"/api/queues/{vhost}")]
        return sum(name.startswith(f"{FLEET_EXCHANGE}.") and name != MARKS_STREAM for name in named)

    with (
        scratch_vhost(stack.amqp_url, stack.management_url, vhost) as url,
        Fleet(url, database.url, {"IDALLOC_WAIT_TIMEOUT": "20"}) as fleet,
    ):
        for _ in range(2):
            [worker] = fleet.start(processes=2)
            worker.wait_for_logs("Ready for ordered tags", 2)
            with IdClient(url, timeout=PATIENCE) as client:
                assert client.next_id("order")
            wait_until(lambda: own_queues() == 4)  # for each process: claims, and questions
            assert worker.terminate() == 0
            assert worker.count_in_log(" WARNING ") == 0, worker.tail()
            wait_until(lambda: own_queues() == 0)
