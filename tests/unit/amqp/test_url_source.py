"""URLs that change: read at each connect, and as they were last where they cannot be read."""

import errno
import socket
import ssl
from copy import deepcopy
from functools import partial
from pathlib import Path

import pytest
from pika import ConnectionParameters, PlainCredentials
from pika.connection import Parameters
from pika.credentials import ExternalCredentials

from devstack.certificates import Authority
from idalloc_client import AsyncIdClient, IdClient, UrlFile
from idalloc_client.amqp import Backoff
from idalloc_client.amqp._brokers import BrokerChoice
from idalloc_client.amqp._url import connection_parameters, user_id


def login(broker: Parameters) -> tuple[str | None, str | None]:
    assert isinstance(broker.credentials, PlainCredentials)
    return broker.credentials.username, broker.credentials.password


def choice(file: Path) -> BrokerChoice:
    return BrokerChoice(connection_parameters(UrlFile(file), "test"), Backoff(0.1, 2.0))


@pytest.mark.parametrize("hosts", ["mq", "mq,mq2"])
def test_each_connect_reads_the_login_anew(tmp_path: Path, hosts: str) -> None:
    """Also another user's, which is then the one that the broker vouches for."""
    file = tmp_path / "url"
    file.write_text(f"amqp://one:first@{hosts}/ids\n")
    brokers = connection_parameters(UrlFile(file), "test")
    chosen = BrokerChoice(brokers, Backoff(0.1, 2.0))
    assert login(chosen.next(0.0)) == ("one", "first")
    file.write_text(f"amqp://two:p%40ss@{hosts}/ids\n")
    assert user_id(brokers) == "one"  # as long as the connection is that user's
    assert login(chosen.next(1.0)) == ("two", "p@ss")
    assert user_id(brokers) == "two"


def test_a_file_that_is_no_use_for_a_moment(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Missing, empty, half written or with other brokers: the last good one serves, said once."""
    file = tmp_path / "url"
    file.write_text("amqp://me:s3cret@mq/ids")
    brokers = choice(file)
    for text in (None, "", "amqp://me:s3cr", "amqp://me:s3cret2@mq3/ids", "amqp://me@mq/ids"):
        file.unlink(missing_ok=True)
        if text is not None:
            file.write_text(text)
        assert login(brokers.next(0.0)) == ("me", "s3cret")
    assert len(caplog.records) == 1
    file.write_text("amqp://me:good@mq/ids")
    assert login(brokers.next(0.0)) == ("me", "good")
    file.write_text("amqp://me:good@mq3/ids")
    assert login(brokers.next(0.0)) == ("me", "good")
    assert "restart to use them" in caplog.records[1].getMessage()
    assert "s3cr" not in caplog.text


@pytest.mark.parametrize("kind", [IdClient, AsyncIdClient])
def test_a_callable_gives_the_url(kind: type[IdClient | AsyncIdClient]) -> None:
    """A token for each connect; what it raises later shows nothing, as it may hold one."""
    tokens = iter(["a", "b"])
    client = kind(lambda: f"amqp://me:{next(tokens)}@mq/ids")
    brokers = BrokerChoice(client._options.brokers, Backoff(0.1, 2.0))
    assert [login(brokers.next(0.0))[1] for _ in range(3)] == ["b", "b", "b"]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RuntimeError("s3cret"), "cannot be had: RuntimeError"),
        (OSError(errno.EIO, "I/O error", "/f"), "cannot be read: /f: I/O error"),
    ],
)
def test_a_callable_that_fails_at_the_start(error: Exception, words: str) -> None:
    """A client that never had a URL is refused."""

    def fail() -> str:
        raise error

    with pytest.raises(ValueError, match=words) as raised:
        IdClient(fail)
    assert "s3cret" not in str(raised.value)


def test_a_side_connection_keeps_to_the_user_of_its_link(tmp_path: Path) -> None:
    """With the password of now; another user would speak under a name that is not its own."""
    file = tmp_path / "url"
    file.write_text("amqp://one:first@mq/ids")
    (broker,) = connection_parameters(UrlFile(file), "test")
    present = PlainCredentials("one", "first")
    broker.beside = lambda: present
    beside = BrokerChoice([broker], Backoff(0.1, 2.0))
    file.write_text("amqp://two:other@mq/ids")
    assert login(beside.next(0.0)) == ("one", "first")
    file.write_text("amqp://one:second@mq/ids")
    assert login(beside.next(0.0)) == ("one", "second")


def test_pika_can_copy_what_it_is_given(tmp_path: Path) -> None:
    """Whatever reads it anew stays with us: a link, a file, a socket."""
    file = tmp_path / "url"
    file.write_text("amqp://one:first@mq/ids")
    for source in (UrlFile(file), file.read_text()):
        (broker,) = connection_parameters(source, "test")
        with socket.socket() as unfit:
            broker.beside = partial(lambda _: None, unfit)
            given = deepcopy(BrokerChoice([broker], Backoff(0.1, 2.0)).next(0.0))
        assert login(given) == ("one", "first")


def test_parameters_of_others_stay_as_they_are() -> None:
    """A link takes whatever pika does."""
    given = ConnectionParameters("mq")
    assert BrokerChoice([given], Backoff(0.1, 2.0)).next(0.0) is given


def test_a_certificate_says_who_logs_in(tmp_path: Path) -> None:
    """As RabbitMQ spells it; a certificate that was replaced is used at the next connect."""
    authority = Authority()
    certificate = authority.issue(tmp_path / "client.pem")
    ca = authority.write(tmp_path / "ca.pem")
    url = f"amqps://mq/ids?auth_mechanism=external&cacertfile={ca}&certfile={certificate}"
    brokers = connection_parameters(url, "test")
    assert brokers[0].credentials == ExternalCredentials()
    assert user_id(brokers) is None
    chosen = BrokerChoice(brokers, Backoff(0.1, 2.0))
    contexts: list[ssl.SSLContext] = []
    for _ in range(2):
        options = chosen.next(0.0).ssl_options
        assert options is not None
        contexts.append(options.context)
    assert contexts[0] is not contexts[1]
    certificate.write_text("half a certificate")
    options = chosen.next(0.0).ssl_options
    assert options is not None
    assert options.context is contexts[1]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("amqp://me:s3cret@mq/?heartbeet=5", "unknown option: heartbeet; known are auth_mechanism"),
        ("amqp://me:s3?cret@mq/", "characters such as"),
        ("amqp://me:s3@x?cret=y@mq/", "unknown option; known"),
        ("amqp://me:s3cret@mq/?auth_mechanism=kerberos", "neither plain nor external"),
        ("amqp://mq/?auth_mechanism=external", "needs amqps:// and a certfile"),
        ("amqps://mq/?auth_mechanism=external", "needs amqps:// and a certfile"),
        ("amqp://me:s3cret@mq/?cacertfile=/ca.pem", "that needs amqps://"),
        ("amqps://me:s3cret@mq/?certfile=/no/such.pem", "cannot be used: No such file"),
        ("amqp://me@mq/", "names a user and no password"),
    ],
)
def test_an_option_that_cannot_be_is_named(url: str, words: str) -> None:
    """Unless it may be a part of a password."""
    with pytest.raises(ValueError, match="AMQP URL") as raised:
        IdClient(url)
    assert words in str(raised.value)
    assert "s3cret" not in str(raised.value)
    assert "cret=" not in str(raised.value)
