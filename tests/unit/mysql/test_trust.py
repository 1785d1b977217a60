"""A database server that has not proved who it is never hears the password, whatever it tries."""

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from devstack.certificates import Authority
from idalloc_client.amqp._cleartext import is_local
from idalloc_worker.mysql._trust import is_local_peer
from idalloc_worker.mysql._url import MySqlAddress
from idalloc_worker.store._admin_session import AdminSession
from idalloc_worker.tags._errors import StoreReason, StoreUnavailableError
from tests import hostile_mysql as hostile
from tests.hostile_mysql import HostileMySql, Script

PASSWORD = "n0b0dy-hears-th1s"
NATIVE = "mysql_native_password"

WAYS: dict[str, tuple[Script, str]] = {
    "clear text": (hostile.in_clear, NATIVE),
    "dialog": (hostile.as_dialog, NATIVE),
    "full login": (hostile.full_login, "caching_sha2_password"),
    "full login after a switch": (hostile.full_login_by_switch, NATIVE),
    "sha256_password": (hostile.sha256, "sha256_password"),
    "sha256_password after a switch": (hostile.sha256_by_switch, NATIVE),
}


@pytest.fixture
def _remote() -> Iterator[None]:
    """Take the loopback address for another machine's."""
    with patch("idalloc_worker.mysql._trust.is_local_peer", return_value=False):
        yield


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def tls(authority: Authority, tmp_path: Path) -> ssl.SSLContext:
    """Have a certificate for 127.0.0.1, of an authority that no system knows."""
    return context(authority.issue(tmp_path / "server.pem"))


def context(certificate: Path) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(certificate)
    return made


def url_of(server: HostileMySql, query: str = "", host: str = "127.0.0.1") -> str:
    return f"mysql://u:{PASSWORD}@{host}:{server.port}/db{query}"


def log_in(url: str) -> StoreUnavailableError | None:
    """Log in as the commands do; give the error, if it is one."""
    try:
        with AdminSession(MySqlAddress.parse(url)):
            return None
    except StoreUnavailableError as error:
        return error


def hears(server: HostileMySql) -> bool:
    return server.heard(PASSWORD.encode())


@pytest.mark.usefixtures("_remote")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("over_tls", [False, True], ids=["tcp", "tls"])
def test_no_password_for_a_server_that_proved_nothing(
    way: str, tls: ssl.SSLContext, *, over_tls: bool
) -> None:
    """Not by default, whatever plugin it asks for; the error says what the user can do."""
    script, plugin = WAYS[way]
    with HostileMySql(script, plugin, tls if over_tls else None) as server:
        error = log_in(url_of(server))
        assert not hears(server)
    assert error is not None
    assert error.reason is StoreReason.UNVERIFIED_SERVER
    assert "ssl_ca" in str(error)
    assert "server_public_key" in str(error)


@pytest.mark.usefixtures("_remote")
@pytest.mark.parametrize("way", WAYS)
def test_the_servers_would_hear_it(way: str) -> None:
    """With ssl=disabled, which is to trust the network, each of these ways gets the password."""
    script, plugin = WAYS[way]
    with HostileMySql(script, plugin) as server:
        log_in(url_of(server, "?ssl=disabled"))
        assert hears(server)


@pytest.mark.usefixtures("_remote")
@pytest.mark.parametrize("query", ["?ssl=true", "?ssl_verify_identity=true"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("over_tls", [False, True], ids=["tcp", "tls"])
def test_a_server_that_is_to_be_verified(
    way: str, query: str, tls: ssl.SSLContext, *, over_tls: bool
) -> None:
    """One without TLS, or of an unknown authority, hears nothing: not even the user's name."""
    script, plugin = WAYS[way]
    with HostileMySql(script, plugin, tls if over_tls else None) as server:
        error = log_in(url_of(server, query))
        assert not server.heard(b"u\0")
        assert not hears(server)
    assert error is not None
    assert error.reason is StoreReason.UNVERIFIED_SERVER


@pytest.mark.usefixtures("_remote")
def test_a_wrong_name(authority: Authority, tmp_path: Path) -> None:
    """A known authority's certificate for another host is none; the name can be waived."""
    certificate = context(authority.issue(tmp_path / "other.pem", "other.example"))
    ca = authority.write(tmp_path / "ca.pem")
    with HostileMySql(hostile.full_login, tls=certificate) as server:
        error = log_in(url_of(server, f"?ssl=true&ssl_ca={ca}"))
        assert not hears(server)
        assert error is not None
        assert error.reason is StoreReason.UNVERIFIED_SERVER
        assert log_in(url_of(server, f"?ssl_ca={ca}&ssl_verify_identity=false")) is None
        assert hears(server)


@pytest.mark.usefixtures("_remote")
@pytest.mark.parametrize("way", WAYS)
def test_who_is_verified_may_ask_for_it(
    way: str, authority: Authority, tls: ssl.SSLContext, tmp_path: Path
) -> None:
    """It is the server that the user named, and the password goes inside its TLS."""
    script, plugin = WAYS[way]
    ca = authority.write(tmp_path / "ca.pem")
    with HostileMySql(script, plugin, tls) as server:
        assert log_in(url_of(server, f"?ssl_ca={ca}")) is None
        assert hears(server)


@pytest.mark.parametrize("way", WAYS)
def test_a_local_server_may_ask_for_it(way: str) -> None:
    """Nobody is in between."""
    script, plugin = WAYS[way]
    with HostileMySql(script, plugin) as server:
        assert log_in(url_of(server)) is None
        assert hears(server)


@pytest.mark.usefixtures("_remote")
def test_a_proof_is_enough(tls: ssl.SSLContext) -> None:
    """Where the server wants no more than a hash of password and challenge, logins go on."""
    for plugin in (NATIVE, "caching_sha2_password"):
        with HostileMySql(plugin=plugin, tls=tls) as server:
            assert log_in(url_of(server)) is None
            assert not hears(server)


@pytest.mark.usefixtures("_remote")
def test_the_next_host_is_tried() -> None:
    """One of several hosts that cannot be trusted does not end the search."""
    with HostileMySql(hostile.in_clear) as bad, HostileMySql() as good:
        url = f"mysql://u:{PASSWORD}@127.0.0.1:{bad.port},127.0.0.1:{good.port}/db"
        assert log_in(url) is None
        assert not hears(bad)


def write_key(tmp_path: Path) -> Path:
    path = tmp_path / "public_key.pem"
    path.write_bytes(hostile.public_pem())
    return path


@pytest.mark.parametrize(
    "way",
    [
        "full login",
        "full login after a switch",
        "sha256_password",
        "sha256_password after a switch",
    ],
)
def test_a_key_that_was_given_is_used(way: str, tmp_path: Path) -> None:
    """The server whose key it is can read the password, and it is not asked for the key."""
    script, plugin = WAYS[way]
    with HostileMySql(script, plugin) as server:
        query = f"?ssl=disabled&server_public_key={write_key(tmp_path)}"
        assert log_in(url_of(server, query)) is None
        assert hears(server)
        assert not server.asked_for_key()


@pytest.mark.usefixtures("_remote")
@pytest.mark.parametrize("way", WAYS)
def test_no_other_key_than_the_one_given(way: str, tmp_path: Path) -> None:
    """A server that has another key, or asks for clear text, cannot read the password."""
    script, plugin = WAYS[way]
    another = rsa.generate_private_key(65537, 2048)
    with HostileMySql(script, plugin, key=another) as server:
        log_in(url_of(server, f"?ssl=disabled&server_public_key={write_key(tmp_path)}"))
        assert server.packets()
        assert not hears(server)


def test_old_hashes_are_unknown() -> None:
    """The hash of MySQL 4.0, from which a password is soon found, is computed for nobody."""
    with HostileMySql(hostile.old_password) as server:
        assert log_in(url_of(server)) is not None
        assert server.packets() == 1


# Who is local


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("localhost", True),
        ("LocalHost.", True),
        ("db.localhost", True),
        ("0.0.0.0", False),
        ("10.0.0.1", False),
        ("::ffff:10.0.0.1", False),
        ("fe80::1%eth0", False),
        ("db", False),
        ("localhost.example", False),
        ("127.0.0.1.example", False),
        ("", False),
    ],
)
def test_which_host_is_this_one(host: str, *, local: bool) -> None:
    """By its address, or the name that stands for it everywhere; no name is looked up."""
    assert is_local(host) is local


def test_a_peer_is_judged_by_its_address() -> None:
    """Sockets of this machine are local; one that is not connected is nobody's."""
    ours, theirs = socket.socketpair()
    with ours, theirs, socket.create_server(("127.0.0.1", 0)) as server:
        assert is_local_peer(ours)
        with socket.create_connection(server.getsockname()) as connection:
            assert is_local_peer(connection)
        with socket.socket() as unconnected:
            assert not is_local_peer(unconnected)
