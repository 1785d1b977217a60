"""Ordered tags under faults: no reply is lower than one received before its request was sent."""

import contextlib
import os
import signal
import time
import urllib.error
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pymysql
import pytest

from devstack import Database, Management, PrivateRabbitMq, TcpProxy
from devstack.caller import Caller
from devstack.history import Reply, check, fleet_disorders, latest, load
from devstack.ordered import add_ordered_tag
from devstack.workers import PATIENCE, Fleet, Worker, through

ROUNDS = int(os.environ.get("IDALLOC_TEST_ROUNDS", "8"))
"""Kills, and as many switches, of the owner. The bar of the project is 50."""

CALLERS = 4
HEARTBEAT = 2  # seconds: a worker that is stopped is given up by the broker within two of them

READY = "Ready for ordered tags"
LOST = "No connection to the broker"


class Run:
    """Callers of one ordered tag, what they have received, and who answers them."""

    def __init__(self, folder: Path, database: Database) -> None:
        self._folder = folder
        self._callers: list[Caller] = []
        add_ordered_tag(database, "order", step=1000)

    def begin(self, amqp_url: str) -> None:
        """Start callers that call, one call at a time, until the end."""
        options = ("--seconds=600", "--timeout=30", "--pause=0.001", "--batch=20", "--tags=order")
        for number in range(CALLERS):
            self._callers.append(Caller(self._folder, f"caller-{number}", amqp_url, *options))

    def wait_for_reply(self, wanted: Callable[[Reply], bool]) -> Reply:
        """Wait for a reply whose request is sent from now on."""
        now = time.monotonic()
        while time.monotonic() < now + PATIENCE:
            for reply in latest(self._folder):
                if reply.sent_at > now and wanted(reply):
                    return reply
            time.sleep(0.02)
        raise AssertionError("the callers get no such replies any more")

    def owner(self, fleet: Fleet) -> Worker:
        """Find the worker that answers at present."""
        by_pid = {str(worker.pid): worker for worker in fleet.alive()}
        reply = self.wait_for_reply(lambda reply: _pid(reply) in by_pid)
        return by_pid[_pid(reply)]

    def switch(self, management_url: str, owner: Worker) -> None:
        """Have the broker close the owner's connection until another worker answers."""
        deadline = time.monotonic() + PATIENCE
        lost = owner.log.read_text().count(LOST)
        while owner.log.read_text().count(LOST) == lost:
            assert time.monotonic() < deadline, owner.tail()
            close_connections(management_url, owner)
            time.sleep(0.05)
        self.wait_for_other_than(owner)

    def wait_for_other_than(self, worker: Worker) -> None:
        """Wait until another worker answers."""
        self.wait_for_reply(lambda reply: _pid(reply) != str(worker.pid))

    def finish(self) -> set[str]:
        """End the callers, judge what they received, and name the workers that answered."""
        assert all(caller.running for caller in self._callers)
        self.kill()
        replies = load(self._folder)
        check(replies).assert_clean()
        disorders = fleet_disorders(replies)
        assert not disorders, f"{len(disorders)} in {len(replies)} replies; first: {disorders[0]}"
        return {reply.worker for reply in replies}

    def kill(self) -> None:
        for caller in self._callers:
            caller.kill()


@pytest.fixture
def run(tmp_path: Path, database: Database) -> Iterator[Run]:
    run = Run(tmp_path, database)
    yield run
    run.kill()


def test_owners_killed_and_switched(fleet: Fleet, management_url: str, run: Run) -> None:
    """SIGKILL of the owner and, in turn, a close of its connection, with others waiting.

    An owner whose connection was closed comes back and waits behind the rest.
    """
    fleet.start(3)
    run.begin(fleet.amqp_url)
    for _ in range(ROUNDS):
        wait_until_ready(*fleet.alive())
        run.switch(management_url, run.owner(fleet))
        wait_until_ready(*fleet.alive())
        owner = run.owner(fleet)
        owner.kill()
        fleet.start(1, ready=False)
        run.wait_for_other_than(owner)
    assert len(run.finish()) > ROUNDS


def test_an_owner_that_returns_has_dropped_its_ids(
    fleet: Fleet, management_url: str, run: Run
) -> None:
    """Two workers pass the tag to and fro: each begins above what the other has handed out."""
    fleet.start(2)
    run.begin(fleet.amqp_url)
    for _ in range(4):
        wait_until_ready(*fleet.alive())
        run.switch(management_url, run.owner(fleet))
    assert len(run.finish()) == 2


def test_owners_stopped_beyond_the_heartbeat(vhost: str, database: Database, run: Run) -> None:
    """A worker that slept while another one took over hands out nothing when it wakes up."""
    with Fleet(short(vhost), database.url) as fleet:
        fleet.start(2)
        run.begin(vhost)
        for _ in range(3):
            wait_until_ready(*fleet.alive())
            owner = run.owner(fleet)
            pause_between_reservations(owner, database)
            run.wait_for_other_than(owner)
            owner.resume()
        run.owner(fleet)
        assert len(run.finish()) == 2


def test_workers_come_and_go(fleet: Fleet, run: Run) -> None:
    """A rolling restart that begins with the owner."""
    fleet.start(2)
    run.begin(fleet.amqp_url)
    for _ in range(4):
        wait_until_ready(*fleet.start(1))
        owner = run.owner(fleet)
        owner.signal(signal.SIGTERM)
        assert owner.wait() == 0, owner.tail()
    run.owner(fleet)
    assert len(run.finish()) > 4


def test_connections_cut_and_held_up(
    vhost: str, proxy: TcpProxy, database: Database, run: Run
) -> None:
    """The owner's connection is reset, or dead on one side only until the heartbeat tells."""
    with Fleet(through(proxy, short(vhost)), database.url) as fleet:
        behind_proxy = fleet.start(1, ready=False)[0]
        wait_until_ready(behind_proxy)
        run.begin(vhost)
        for cut in (proxy.drop, proxy.pause, proxy.drop):
            assert run.owner(fleet) is behind_proxy
            with Fleet(vhost, database.url) as others:
                wait_until_ready(others.start(1, ready=False)[0])
                cut()
                run.wait_for_other_than(behind_proxy)
                proxy.resume()
                wait_until_ready(behind_proxy)
        run.owner(fleet)
        assert len(run.finish()) == 4


def test_the_broker_restarts(own_rabbitmq: PrivateRabbitMq, database: Database, run: Run) -> None:
    """Everybody reconnects, in any order, and the ids go on rising."""
    with Fleet(own_rabbitmq.url, database.url) as fleet:
        fleet.start(3)
        run.begin(own_rabbitmq.url)
        run.owner(fleet)
        own_rabbitmq.stop()
        own_rabbitmq.start()
        run.owner(fleet)
        own_rabbitmq.kill()
        own_rabbitmq.start()
        run.owner(fleet)
        run.finish()


def wait_until_ready(*workers: Worker) -> None:
    """Wait until each worker consumes the partitions on its present connection."""
    deadline = time.monotonic() + PATIENCE
    for worker in workers:
        while not _ready(worker):
            assert time.monotonic() < deadline, worker.tail()
            time.sleep(0.02)


def _ready(worker: Worker) -> bool:
    log = worker.log.read_text()
    return log.rfind(READY) > log.rfind(LOST)


def pause_between_reservations(worker: Worker, database: Database) -> None:
    """Stop a worker that holds no lock of the row, which the database would keep for it."""
    locked = "SELECT 1 FROM segments WHERE app_tag = 'order' FOR UPDATE NOWAIT"
    while True:
        worker.pause()
        try:
            database.query(locked)
        except pymysql.OperationalError:
            worker.resume()
        else:
            return


def short(amqp_url: str) -> str:
    return f"{amqp_url}?heartbeat={HEARTBEAT}"


def close_connections(management_url: str, worker: Worker) -> None:
    """Have the broker close a worker's connection.

    The API may still list an earlier one of the same name.
    """
    management = Management(management_url)
    for connection in management.get("/api/connections"):
        name = connection.get("client_properties", {}).get("connection_name", "")
        if name.endswith(f":{worker.pid}"):
            with contextlib.suppress(urllib.error.HTTPError):  # it has gone meanwhile
                management.delete(f"/api/connections/{quote(connection['name'], safe='')}")


def _pid(reply: Reply) -> str:
    return reply.worker.rpartition(":")[2]
