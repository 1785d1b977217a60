"""Which server a connection is made to, by what the servers say of themselves."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import pytest

from idalloc_worker.mysql import _host_choice
from idalloc_worker.mysql._addresses import Route
from idalloc_worker.mysql._host_choice import MySqlHosts, OpenHost
from idalloc_worker.mysql._lifeline import Lifeline
from idalloc_worker.mysql._sql import GALERA_STATE, WRITE_SETTINGS
from idalloc_worker.mysql._url import MySqlAddress
from idalloc_worker.tags._errors import StoreReason, StoreUnavailableError

MYSQL: Final = {"read_only": "OFF", "super_read_only": "OFF", "innodb_read_only": "OFF"}
MARIADB: Final = {
    "read_only": "OFF",
    "innodb_read_only": "OFF",
    "wsrep_on": "OFF",
    "wsrep_provider": "none",
}
NODE: Final = {**MARIADB, "wsrep_on": "ON", "wsrep_provider": "/usr/lib/galera/libgalera_smm.so"}
PERCONA: Final = {key: value for key, value in {**MYSQL, **NODE}.items() if key != "wsrep_on"}
READY: Final = {"wsrep_ready": "ON", "wsrep_cluster_status": "Primary"}
NOT_READY: Final = {"wsrep_ready": "OFF", "wsrep_cluster_status": "non-Primary"}


class Server:
    """Answers the two questions; its connections are its cursors."""

    def __init__(self, settings: Mapping[str, str], state: Mapping[str, str]) -> None:
        self._answers = {WRITE_SETTINGS.text: settings, GALERA_STATE.text: state}
        self._found: Mapping[str, str] = {}
        self.closed = False

    def execute(self, sql: str) -> None:
        self._found = self._answers[sql]

    def fetchall(self) -> list[tuple[str, str]]:
        return list(self._found.items())

    @contextmanager
    def cursor(self) -> Iterator["Server"]:
        yield self

    def close(self) -> None:
        self.closed = True


def connect(monkeypatch: pytest.MonkeyPatch, first: Server, **others: Server) -> OpenHost:
    """Connect to the first server, or the host of whichever name takes writes."""
    servers = {"first": first, **others}

    def open_connection(route: Route, *_: object, **__: object) -> Any:
        return servers[route.address.host]

    monkeypatch.setattr(_host_choice, "open_connection", open_connection)
    hosts = MySqlHosts(MySqlAddress.parse(f"mysql://u@{','.join(servers)}/db"), lambda: 0.0)
    return hosts.connect(Lifeline(), 1.0, 1.0)


def test_a_node_without_a_quorum_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """It lets one log in and answers SHOW; nothing is asked of it that it would refuse."""
    alone = Server(NODE, NOT_READY)
    opened = connect(monkeypatch, alone, second=Server(NODE, READY))
    assert opened.address.host == "second"
    assert alone.closed


def test_nodes_without_a_quorum_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what state each is in."""
    with pytest.raises(StoreUnavailableError) as raised:
        connect(monkeypatch, Server(NODE, NOT_READY), second=Server(NODE, NOT_READY))
    assert raised.value.reason is StoreReason.NOT_WRITABLE
    assert str(raised.value).count("'non-primary'") == 2


@pytest.mark.parametrize(
    ("settings", "state"),
    [
        (MYSQL, {}),
        (MARIADB, {**NOT_READY, "wsrep_cluster_status": "Disconnected"}),
        ({**MARIADB, "wsrep_provider": NODE["wsrep_provider"]}, NOT_READY),
        (NODE, READY),
        (PERCONA, READY),
        (NODE, {}),
        ({}, {}),
    ],
    ids=["mysql", "mariadb", "galera off", "node", "percona", "no state", "nothing known"],
)
def test_a_server_that_is_no_node_or_ready_is_used(
    monkeypatch: pytest.MonkeyPatch, settings: Mapping[str, str], state: Mapping[str, str]
) -> None:
    """A MariaDB by itself says that it is not ready, too."""
    server = Server(settings, state)
    assert connect(monkeypatch, server, second=Server(MYSQL, {})).address.host == "first"


@pytest.mark.parametrize("settings", [MYSQL, NODE])
@pytest.mark.parametrize("value", ["ON", "1", "NO_LOCK_NO_ADMIN"])
def test_a_server_that_is_read_only_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, settings: Mapping[str, str], value: str
) -> None:
    """Newer MariaDB knows several ways of being so."""
    replica = Server({**settings, "read_only": value}, READY)
    assert connect(monkeypatch, replica, second=Server(MYSQL, {})).address.host == "second"


def test_percona_without_a_quorum_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """It shows no wsrep_on among its global settings."""
    opened = connect(monkeypatch, Server(PERCONA, NOT_READY), second=Server(PERCONA, READY))
    assert opened.address.host == "second"


@pytest.mark.parametrize("names", ["first", "first,second"])
def test_each_connect_logs_in_as_the_url_says_now(
    monkeypatch: pytest.MonkeyPatch, names: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Where its file is no use, as it said before; another host needs a restart."""
    urls = iter(
        [
            f"mysql://one:s3cret@{names}/db",
            f"mysql://two:p%40ss@{names}/db",
            "mysql://three",
            f"mysql://three:s3cret@{names},third/db",
        ]
    )
    address = MySqlAddress.parse(lambda: next(urls))
    logins = []

    def open_connection(route: Route, *_: object, **__: object) -> Any:
        logins.append((route.address.user, route.address.password))
        return Server(MYSQL, {})

    monkeypatch.setattr(_host_choice, "open_connection", open_connection)
    hosts = MySqlHosts(address, lambda: 0.0)
    for _ in range(4):
        hosts.connect(Lifeline(), 1.0, 1.0).close()
    assert logins == [("two", "p@ss")] * 4
    assert len(caplog.records) == 1
    assert "s3cret" not in caplog.text
