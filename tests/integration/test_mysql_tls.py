"""Logins on real servers: which of them prove enough, and which are refused."""

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest

from devstack import Database, private_mysql
from devstack.certificates import Authority
from idalloc_worker.engine._effects import ReservationRequest
from idalloc_worker.mysql._url import MySqlAddress
from idalloc_worker.store._admin_session import AdminSession
from idalloc_worker.tags._errors import StoreReason, StoreUnavailableError
from tests.integration.stores import address_of, opened

TAG = "test_business"
PASSWORD = "s3cret-pass"


@pytest.fixture(autouse=True)
def _remote() -> Iterator[None]:
    """Take the loopback address for another machine's."""
    with patch("idalloc_worker.mysql._trust.is_local_peer", return_value=False):
        yield


@contextmanager
def user(database: Database, how: str) -> Iterator[MySqlAddress]:
    """Make a user that logs in in some way."""
    name = f"tls_{secrets.token_hex(6)}"
    database.query(f"CREATE USER '{name}'@'%' IDENTIFIED {how}")
    try:
        database.query(f"GRANT ALL ON `{database.name}`.* TO '{name}'@'%'")
        yield replace(address_of(database), user=name, password=PASSWORD)
    finally:
        database.query(f"DROP USER '{name}'@'%'")


def plugins(database: Database) -> set[str]:
    return {str(row[0]) for row in database.query("SHOW PLUGINS")}


def refusal(address: MySqlAddress) -> StoreUnavailableError:
    with pytest.raises(StoreUnavailableError) as raised, AdminSession(address):
        pass
    assert PASSWORD not in str(raised.value)
    return raised.value


def works(address: MySqlAddress) -> bool:
    with AdminSession(address) as session:
        return session.rows("SELECT 1") == [(1,)]


def test_a_full_login(database: Database, tmp_path: Path) -> None:
    """Refused until the key, or the authority, is given; then the server remembers the login."""
    if "caching_sha2_password" not in plugins(database):  # MariaDB's logins are all proofs
        with user(database, f"BY '{PASSWORD}'") as address:
            assert works(address)
        return
    with user(database, f"WITH caching_sha2_password BY '{PASSWORD}'") as address:
        error = refusal(address)
        assert error.reason is StoreReason.UNVERIFIED_SERVER
        assert "caching_sha2_password" in str(error)
        ((_, key),) = database.query("SHOW STATUS LIKE 'Caching_sha2_password_rsa_public_key'")
        path = tmp_path / "key.pem"
        path.write_text(key)
        assert works(replace(address, ssl=False, server_public_key=str(path)))
        assert works(address)  # a proof is enough from now on
        database.query("FLUSH PRIVILEGES")  # which makes the server forget it
        assert refusal(address).reason is StoreReason.UNVERIFIED_SERVER
        assert works(replace(address, ssl=False))


def test_a_certificate_that_nobody_vouches_for(database: Database) -> None:
    """ssl=true refuses what MySQL makes itself, and a server that has no TLS."""
    error = refusal(replace(address_of(database), ssl=True))
    assert error.reason is StoreReason.UNVERIFIED_SERVER
    assert re.search("certificate verify failed|SSL is required", str(error))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def with_tls(folder: Path) -> Iterator[Database]:
    """Have a server whose certificate a private authority signed, for 127.0.0.1."""
    authority = Authority()
    server = private_mysql()
    server.certificate = authority.issue(folder / "server.pem")
    server.authority = authority.write(folder / "ca.pem")
    authority.issue(folder / "client.pem")
    server.start()
    try:
        yield Database(server.url, "mysql")
    finally:
        server.close()


def cipher(address: MySqlAddress) -> str:
    with AdminSession(address) as session:
        ((_, value),) = session.rows("SHOW SESSION STATUS LIKE 'Ssl_cipher'")
    return str(value)


def test_a_private_authority(with_tls: Database, folder: Path) -> None:
    """Its servers are believed, by the name that they have, and nobody else is."""
    address = replace(address_of(with_tls), ssl_ca=str(folder / "ca.pem"))
    assert cipher(address)
    by_name = refusal(replace(address, host="localhost"))
    assert by_name.reason is StoreReason.UNVERIFIED_SERVER
    assert "localhost" in str(by_name)
    assert cipher(replace(address, host="localhost", ssl_verify_identity=False))
    other = Authority("another one").write(folder / "other.pem")
    assert refusal(replace(address, ssl_ca=str(other))).reason is StoreReason.UNVERIFIED_SERVER
    assert refusal(replace(address, ssl=True, ssl_ca=None)).reason is StoreReason.UNVERIFIED_SERVER


def test_a_certificate_of_ours(with_tls: Database, folder: Path) -> None:
    """A user who has to show one gets in with it, and not without; one that is no use is named."""
    with user(with_tls, f"BY '{PASSWORD}' REQUIRE X509") as unproved:
        address = replace(unproved, ssl_ca=str(folder / "ca.pem"))
        assert refusal(address).reason is StoreReason.ACCESS_DENIED
        mine = str(folder / "client.pem")
        assert works(replace(address, ssl_cert=mine))
        assert works(replace(address, ssl_cert=mine, ssl_key=mine))
        assert "ssl_cert" in str(refusal(replace(address, ssl_cert=str(folder / "ca.pem"))))


def test_tls_is_used_where_it_is_offered(with_tls: Database, folder: Path) -> None:
    """By default; not with ssl=disabled. Ids are reserved over it as over any connection."""
    address = replace(address_of(with_tls), ssl_ca=str(folder / "ca.pem"))
    assert works(address)  # the server remembers the login
    assert cipher(address_of(with_tls))
    assert cipher(replace(address_of(with_tls), ssl=False)) == ""
    with AdminSession(address) as session:
        session.change("CREATE DATABASE ids")
        session.change(
            "CREATE TABLE ids.segments (app_tag VARCHAR(32) PRIMARY KEY, "
            "max_id BIGINT, step BIGINT) ENGINE = InnoDB"
        )
        session.change(f"INSERT INTO ids.segments VALUES ('{TAG}', 0, 10)")
    with opened(replace(address, database="ids")) as store:
        assert store.reserve(ReservationRequest(TAG, 1)).segment.right > 1
