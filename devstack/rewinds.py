"""Sets a database back under a running fleet, and asks every worker what it made of that."""

import json
import time
from contextlib import closing

from devstack import Database
from devstack.servers._database import connect
from devstack.workers import Fleet
from idalloc_schemas import HealthReply
from tests.foreign import ForeignClient


def set_back(database: Database, app_tag: str, by: int) -> None:
    """Lower the row once, as a failover that lost commits would, when there is so much to lose."""
    lower = "UPDATE segments SET max_id = max_id - %s WHERE app_tag = %s AND max_id > %s"
    with closing(connect(database.server_url, database.name)) as connection:
        for _ in range(1000):
            with connection.cursor() as cursor:
                if cursor.execute(lower, (by, app_tag, by)):
                    return
            time.sleep(0.02)
    raise AssertionError("the load does not use up ids")


def wait_for_use(database: Database, app_tag: str, ids: int) -> None:
    """Wait until so many more ids are reserved."""
    until = max_id(database, app_tag) + ids
    for _ in range(1000):
        if max_id(database, app_tag) >= until:
            return
        time.sleep(0.02)
    raise AssertionError("the load does not use up ids")


def max_id(database: Database, app_tag: str) -> int:
    [(value,)] = database.query("SELECT max_id FROM segments WHERE app_tag = %s", app_tag)
    return int(value)


def repaired(fleet: Fleet) -> int:
    """Add up what all workers counted."""
    return sum(reply.counters.get("rewinds_repaired", 0) for reply in whole_fleet(fleet))


def wait_for_repair(fleet: Fleet, before: int) -> None:
    for _ in range(600):
        if repaired(fleet) > before:
            return
        time.sleep(0.05)
    raise AssertionError("it was not noticed")


def whole_fleet(fleet: Fleet) -> list[HealthReply]:
    """Ask each worker."""
    wanted = len(fleet.alive())
    with ForeignClient(fleet.amqp_url) as caller:
        for _ in range(200):
            replies = caller.gather("id.health", b'{"fleet":true}', wanted)
            if len(replies) == wanted:
                return [HealthReply.model_validate(json.loads(body)) for body in replies]
    raise AssertionError("not every worker answered")
