"""Passwords that go over a network unprotected are warned of, once, and not shown."""

import logging
from collections.abc import Iterator

import pytest

from idalloc_client import AsyncIdClient, IdClient
from idalloc_client.amqp import _cleartext
from idalloc_worker.cli._main import run
from idalloc_worker.mysql._url import MySqlAddress
from idalloc_worker.settings._caller import broker_warnings
from idalloc_worker.settings._cleartext import database_warnings

SECRET = "s3cret"
REMOTE = f"amqp://me:{SECRET}@192.0.2.1:5673/%2F"


@pytest.fixture(autouse=True)
def _nothing_warned_of() -> Iterator[None]:
    """Begin anew."""
    _cleartext._warned.clear()
    yield
    _cleartext._warned.clear()


def test_a_client_warns_once_for_a_broker(caplog: pytest.LogCaptureFixture) -> None:
    """Of whatever kind, and however many there are; another broker is another warning."""
    for url in (REMOTE, REMOTE, REMOTE.replace("192.0.2.1", "192.0.2.2")):
        IdClient(url).close()
        AsyncIdClient(url)
    first, second = caplog.records
    assert (first.name, first.levelno) == ("idalloc.client", logging.WARNING)
    assert "user 'me'" in first.message
    assert "192.0.2.1:5673" in first.message
    assert "192.0.2.2:5673" in second.message
    assert SECRET not in caplog.text


@pytest.mark.parametrize(
    "url",
    [
        "amqps://me:s3cret@192.0.2.1/",
        "amqp://me:s3cret@127.0.0.1/",
        "amqp://me:s3cret@localhost/",
        "amqp://me:s3cret@[::1]/",
    ],
)
def test_what_nobody_can_read_is_not_warned_of(url: str) -> None:
    """With TLS, or on this machine."""
    assert broker_warnings(url) == []


TOLD = "gets the password without TLS (ssl=disabled)"
WITHHELD = "does not have to prove who it is"


@pytest.mark.parametrize(
    ("url", "warning"),
    [
        ("mysql://me:s3cret@192.0.2.1/ids?ssl=disabled", TOLD),
        ("mysql://me:s3cret@192.0.2.1/ids?ssl=false", TOLD),
        ("mysql://me:s3cret@127.0.0.1,192.0.2.1/ids?ssl=disabled", TOLD),
        ("mysql://me:s3cret@127.0.0.1/ids?ssl=disabled", None),
        ("mysql://me:s3cret@/ids?ssl=disabled&unix_socket=/run/my.sock", None),
        ("mysql://me:s3cret@192.0.2.1/ids?ssl=disabled&server_public_key=/key.pem", None),
        ("mysql://me:s3cret@192.0.2.1/ids", WITHHELD),
        ("mysql://me:s3cret@db/ids?ssl=preferred", WITHHELD),
        ("mysql://me:s3cret@127.0.0.1,db/ids", WITHHELD),
        ("mysql://me:s3cret@127.0.0.1,[::1]/ids", None),
        ("mysql://me:s3cret@/ids?unix_socket=/run/my.sock", None),
        ("mysql://me:s3cret@192.0.2.1/ids?ssl=true", None),
        ("mysql://me:s3cret@192.0.2.1/ids?ssl_verify_identity=true", None),
        ("mysql://me:s3cret@192.0.2.1/ids?ssl_ca=/ca.pem", None),
        ("mysql://me:s3cret@192.0.2.1/ids?ssl_ca=/ca.pem&ssl_verify_identity=false", None),
    ],
)
def test_a_database_that_proves_nothing_is_warned_of(url: str, warning: str | None) -> None:
    """Where a host is another machine: it gets the password, or cannot have it when it must."""
    warnings = database_warnings(MySqlAddress.parse(url))
    assert len(warnings) == (warning is not None)
    assert not warnings or str(warning) in warnings[0]
    assert SECRET not in str(warnings)


def test_a_command_warns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On the standard error, before it does what it is told."""
    monkeypatch.setenv("IDALLOC_AMQP_URL", REMOTE.replace("192.0.2.1", "nowhere.invalid"))
    assert run(["next", "order", "--timeout", "0.01"]) == 1
    warning = capsys.readouterr().err.splitlines()[0]
    assert warning.startswith("idalloc: warning: The password of user 'me'")
