"""Passwords and users that are replaced under load: no call fails, and nothing is restarted."""

import contextlib
import secrets
import time
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import pika.exceptions
import pymysql
import pytest
from click.testing import CliRunner

from devstack import Database, Management
from devstack.history import check, fleet_disorders
from devstack.history import load as read
from devstack.ordered import add_ordered_tag
from devstack.workers import PATIENCE, Fleet, Worker, blocking_connection
from idalloc_client import IdClient
from idalloc_worker.cli._main import cli
from tests.faults.conftest import Load
from tests.faults.test_ordered_chaos import close_connections, wait_until_ready
from tests.integration.test_give_back import add_tag

pytestmark = pytest.mark.long

ALL = {"configure": ".*", "write": ".*", "read": ".*"}
CALL = ("--timeout=60", "--tags=order", "--batch=20", "--pause=0.005")
PASSED = "Connected to the broker"


class Logins:
    """Users of broker and database, and the files that name one of each."""

    def __init__(self, folder: Path, vhost: str, database: Database, management_url: str) -> None:
        self._vhost = vhost
        self._database = database
        self.management_url = management_url
        self._management = Management(management_url)
        self._names: set[str] = set()
        self.broker_file, self.database_file = folder / "amqp-url", folder / "mysql-url"

    def make(self, name: str) -> None:
        """Make a user of both, who may do everything there."""
        self._names.add(name)
        self.change(name)
        vhost = quote(unquote(urlsplit(self._vhost).path[1:]), safe="")
        self._management.put(f"/api/permissions/{vhost}/{name}", ALL)
        self._database.query(f"GRANT ALL ON `{self._database.name}`.* TO '{name}'@'%'")

    def change(self, name: str) -> tuple[str, str]:
        """Give a new password to a user at both, and return its URLs."""
        password = secrets.token_urlsafe(9)
        self._management.put(f"/api/users/{name}", {"password": password, "tags": ""})
        self._database.query(f"CREATE USER IF NOT EXISTS '{name}'@'%'")
        self._database.query(f"ALTER USER '{name}'@'%' IDENTIFIED BY '{password}'")
        urls = self._vhost, self._database.url
        broker, database = (_as_user(url, f"{name}:{password}") for url in urls)
        return broker, database

    def write(self, urls: tuple[str, str]) -> None:
        """Replace the files, as Kubernetes does: at once."""
        for file, url in zip((self.broker_file, self.database_file), urls, strict=True):
            fresh = file.with_suffix(".new")
            fresh.write_text(url + "\n")
            fresh.rename(file)

    def cut(self, name: str) -> None:
        """Have both servers end all connections of a user."""
        with contextlib.suppress(urllib.error.HTTPError):
            for connection in self._management.get("/api/connections"):
                if connection.get("user") == name:
                    path = quote(connection["name"], safe="")
                    with contextlib.suppress(urllib.error.HTTPError):  # it has gone meanwhile
                        self._management.delete(f"/api/connections/{path}")
        sql = "SELECT ID FROM information_schema.PROCESSLIST WHERE USER = %s"
        for (number,) in self._database.query(sql, name):
            with contextlib.suppress(pymysql.MySQLError):
                self._database.query(f"KILL {number}")

    def users_of(self, worker: Worker) -> set[str]:
        """Name the users that a worker is connected to the broker as."""
        return {
            each["user"]
            for each in self._management.get("/api/connections")
            if str(each.get("client_properties", {}).get("connection_name", "")).endswith(
                f":{worker.pid}"
            )
        }

    def drop(self, name: str) -> None:
        """Delete a user of both, which ends its connections to the broker."""
        self._names.discard(name)
        with contextlib.suppress(urllib.error.HTTPError):
            self._management.delete(f"/api/users/{name}")
        self._database.query(f"DROP USER IF EXISTS '{name}'@'%'")

    def drop_all(self) -> None:
        for name in list(self._names):
            self.drop(name)

    def start(self, fleet: Fleet, count: int, fleet_users: str = "") -> list[Worker]:
        """Start workers that have the files, and no URL beside them."""
        fleet.worker_url = fleet.mysql_url = ""
        return fleet.start(
            count,
            amqp_url_file=self.broker_file,
            mysql_url_file=self.database_file,
            fleet_users=fleet_users,
        )


def _as_user(url: str, login: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=f"{login}@{parts.netloc.rpartition('@')[2]}").geturl()


@pytest.fixture
def logins(tmp_path: Path, vhost: str, database: Database, management_url: str) -> Iterator[Logins]:
    made = Logins(tmp_path, vhost, database, management_url)
    yield made
    made.drop_all()


def reconnect(logins: Logins, user: str, *workers: Worker) -> None:
    """Cut a user's connections until each worker has had to log in again."""
    counts = {worker: worker.count_in_log(PASSED) for worker in workers}
    deadline = time.monotonic() + PATIENCE
    while any(worker.count_in_log(PASSED) == count for worker, count in counts.items()):
        assert time.monotonic() < deadline, workers[0].tail()
        logins.cut(user)
        time.sleep(0.1)


def refused(url: str) -> bool:
    with pytest.raises(pika.exceptions.AMQPError), blocking_connection(url):
        pass
    return True


def commands_work(logins: Logins) -> bool:
    """Whether one that needs the broker and one that needs the database do, with the files."""
    environ = {
        "IDALLOC_AMQP_URL_FILE": str(logins.broker_file),
        "IDALLOC_MYSQL_URL_FILE": str(logins.database_file),
    }
    commands = (["top", "--once", "--interval=0.1"], ["tags", "show", "order"])
    return all(CliRunner().invoke(cli, each, env=environ).exit_code == 0 for each in commands)


def test_a_password_that_is_replaced(
    logins: Logins, fleet: Fleet, database: Database, load: Load, tmp_path: Path
) -> None:
    """First at the servers, then in the files; then all have to log in again: no call fails."""
    name = f"rotated-{secrets.token_hex(4)}"
    logins.make(name)
    urls = logins.change(name)
    logins.write(urls)
    add_tag(database, step=100)
    workers = logins.start(fleet, 2)
    load.begin(3, fleet.amqp_url, f"--url-file={logins.broker_file}", *CALL)
    for _ in range(3):
        load.go_on()
        before, urls = urls, logins.change(name)
        logins.write(urls)
        reconnect(logins, name, *workers)
        load.go_on()
        assert refused(before[0])
        assert commands_work(logins)
    load.end_without_errors()
    check(read(tmp_path)).assert_clean()


def test_a_file_that_comes_late(
    logins: Logins, fleet: Fleet, database: Database, load: Load, tmp_path: Path
) -> None:
    """Logins are refused until the file has the new password, and tried again with what it has."""
    name = f"rotated-{secrets.token_hex(4)}"
    logins.make(name)
    logins.write(logins.change(name))
    add_tag(database, step=100)
    (worker,) = logins.start(fleet, 1)
    load.begin(3, fleet.amqp_url, f"--url-file={logins.broker_file}", *CALL)
    load.go_on()
    urls = logins.change(name)
    deadline = time.monotonic() + PATIENCE
    while not worker.count_in_log("refused the user or password"):
        assert time.monotonic() < deadline, worker.tail()
        logins.cut(name)
        time.sleep(0.1)
    logins.database_file.unlink()  # and for a moment there is none
    logins.write((urls[0], urls[1]))
    load.go_on()
    load.end_without_errors()
    check(read(tmp_path)).assert_clean()


def test_workers_that_go_from_one_user_to_another(
    logins: Logins, fleet: Fleet, database: Database, load: Load, tmp_path: Path
) -> None:
    """With an ordered tag: each at its own time, and the first user is gone in the end."""
    first, second = (f"worker-{letter}-{secrets.token_hex(4)}" for letter in "ab")
    both = f"{first},{second}"
    for name in (first, second):
        logins.make(name)
    logins.write(logins.change(first))
    add_ordered_tag(database, "order", step=100)
    workers = logins.start(fleet, 3, fleet_users=both)
    wait_until_ready(*workers)
    load.begin(3, fleet.amqp_url, *CALL)
    load.go_on()
    logins.write(logins.change(second))
    with IdClient(fleet.amqp_url, workers=(first, second), timeout=PATIENCE) as client:
        for worker in workers:
            while logins.users_of(worker) != {second}:
                close_connections(logins.management_url, worker)
                time.sleep(0.1)
            wait_until_ready(*workers)
            load.go_on()
            assert client.next_id("order")
    logins.drop(first)
    load.go_on()
    load.end_without_errors()
    replies = read(tmp_path)
    check(replies).assert_clean()
    assert not fleet_disorders(replies)
    for worker in workers:
        assert "that no worker sent" not in worker.log.read_text()
        assert worker.terminate() == 0
