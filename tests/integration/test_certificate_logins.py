"""Workers and clients that log in to RabbitMQ with a certificate (EXTERNAL), without a password."""

import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from devstack import Database, Management, PrivateRabbitMq, private_rabbitmq
from devstack.certificates import Authority
from devstack.ordered import add_ordered_tag
from devstack.servers._ports import free_port
from devstack.workers import PATIENCE, Fleet
from idalloc_client import IdClient

pytestmark = pytest.mark.long

USER = "idalloc test"  # whom the certificates of the tests name
CONFIG = """\
listeners.ssl.1 = 127.0.0.1:{port}
ssl_options.cacertfile = {ca}
ssl_options.certfile = {server}
ssl_options.keyfile = {server}
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = true
ssl_cert_login_from = common_name
auth_mechanisms.1 = EXTERNAL
auth_mechanisms.2 = PLAIN
"""


@pytest.fixture
def authority() -> Authority:
    return Authority()


@pytest.fixture
def url(tmp_path: Path, broker: PrivateRabbitMq, port: int) -> str:
    del broker  # it listens there
    files = f"cacertfile={tmp_path / 'ca.pem'}&certfile={tmp_path / 'client.pem'}"
    return f"amqps://127.0.0.1:{port}/%2F?auth_mechanism=external&{files}"


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def broker(tmp_path: Path, authority: Authority, port: int) -> Iterator[PrivateRabbitMq]:
    """Have a broker that asks for certificates, and a user who has no password."""
    files = {"ca": authority.write(tmp_path / "ca.pem")}
    files["server"] = authority.issue(tmp_path / "server.pem")
    authority.issue(tmp_path / "client.pem")
    private_rabbitmq()  # installs it where needed
    plugins = ["rabbitmq_auth_mechanism_ssl"]
    with PrivateRabbitMq(config=CONFIG.format(port=port, **files), plugins=plugins) as running:
        management = Management(running.management_url)
        management.put(f"/api/users/{quote(USER)}", {"password_hash": "", "tags": ""})
        rights = {"configure": ".*", "write": ".*", "read": ".*"}
        management.put(f"/api/permissions/%2F/{quote(USER)}", rights)
        yield running


def test_a_certificate_is_a_login(
    broker: PrivateRabbitMq, url: str, database: Database, authority: Authority, tmp_path: Path
) -> None:
    """Of workers, for ordered tags too, and of clients; one that is replaced is used next time."""
    management = Management(broker.management_url)
    add_ordered_tag(database, "order")
    with Fleet(broker.url, database.url) as fleet, IdClient(url, timeout=PATIENCE) as client:
        fleet.worker_url = url
        (worker,) = fleet.start()
        assert client.next_id("test_business") == 1
        assert client.next_id("order") == 1
        authority.issue(tmp_path / "client.pem")
        connections = mechanisms(management)
        assert set(connections.values()) == {"EXTERNAL"}
        for name in connections:
            management.delete(f"/api/connections/{quote(name, safe='')}")
        worker.wait_for_logs("Connected to the broker", 2)
        assert client.next_id("test_business") > 1
        assert client.next_id("order") > 1
        assert client.stats().connections_lost == 1


def mechanisms(management: Management) -> dict[str, str]:
    """Tell how each connection logged in, once both are listed."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        listed = management.get("/api/connections")
        found = {each["name"]: each["auth_mechanism"] for each in listed if each.get("ssl")}
        if len(found) >= 2:
            return found
        time.sleep(0.1)
    raise AssertionError(listed)
