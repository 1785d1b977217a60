"""What a client can be constructed with."""

import os
import tomllib
from pathlib import Path
from urllib.parse import quote

import pytest
from pika import PlainCredentials

from idalloc_client import IdClient
from idalloc_client.amqp._broker_url import renewed
from idalloc_client.amqp._url import VERSION, connection_parameters, user_id
from tests.forks import in_child


@pytest.mark.parametrize(
    "url",
    [
        "amqp://u:s3cr3t@h/?heartbeat=abc",
        "amqp://u:s3cr3t@h/?heartbeat=-5",
        "amqp://u:s3cr3t@h/?ssl_options={bad",
        "amqps://u:s3cr3t@h/?ssl_options=%7B%27cafile%27%3A%27%2Fnowhere%2Fca.pem%27%7D",
        "amqp://u:s3cr3t@h:99999/",
    ],
)
def test_a_url_that_cannot_work_is_refused_at_once(url: str) -> None:
    """It is a ValueError that speaks of the AMQP URL, and never repeats the password."""
    with pytest.raises(ValueError, match="AMQP URL") as caught:
        IdClient(url)
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize("name", ["amqp://u:s3cr3t@h", "amqp:/u:s3cr3t@h", "x" * 256])
def test_what_is_no_name_of_an_exchange_is_refused(name: str) -> None:
    """A URL that was put there, with however many slashes, is not sent to the broker."""
    with pytest.raises(ValueError, match="name of an exchange") as caught:
        IdClient("amqp://localhost/", exchange=name)
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize("timeout", [-1, float("nan"), float("inf"), 1e10])
def test_a_timeout_that_cannot_be_kept_is_refused(timeout: float) -> None:
    """It says what is allowed."""
    with pytest.raises(ValueError, match="timeout must be"):
        IdClient("amqp://localhost/", timeout=timeout)


def test_a_name_that_is_too_long_is_not_vouched_for() -> None:
    """A token's or a directory's may be: AMQP has 255 bytes for it, and requests go without."""
    for name, expected in [("ü" * 127, "ü" * 127), ("ü" * 128, None)]:
        brokers = connection_parameters(f"amqp://{quote(name)}:secret@localhost/", "test")
        assert user_id(brokers) == expected


@pytest.mark.parametrize(
    ("hosts", "expected"),
    [
        ("rabbit1", [("rabbit1", 5672)]),
        ("rabbit1,rabbit2:5673", [("rabbit1", 5672), ("rabbit2", 5673)]),
        (
            "[fd00::3]:5673,rabbit1,[fd00::3]",
            [("fd00::3", 5673), ("rabbit1", 5672), ("fd00::3", 5672)],
        ),
    ],
)
def test_a_url_may_list_brokers(hosts: str, expected: list[tuple[str, int]]) -> None:
    """In the form of the MySQL URL: login, virtual host and options hold for all of them."""
    url = f"amqp://us%2Cer:pass%40word@{hosts}/v%2Fhost?heartbeat=30"
    brokers = connection_parameters(url, "test")
    assert [(broker.host, broker.port) for broker in brokers] == expected
    for broker in brokers:
        assert (broker.virtual_host, broker.heartbeat) == ("v/host", 30)
        assert broker.credentials == PlainCredentials("us,er", "pass@word")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("amqp://u:s3cr3t@h1,,h2/", "host 2 of 3 is empty"),
        ("amqp://u:s3cr3t@h1,:5673/", "host 2 of 2 is empty"),
        ("amqp://u:s3cr3t@h1,u:s3cr3t@h2/", "a login among the hosts"),
        ("amqp://u:s3cr3t@h1,amqp://u:s3cr3t@h2/", "more than one URL"),
        ("amqp://u:s3cr3t@h1;h2/", "a comma stands between two hosts"),
        ("amqp://u:s3cr3t@h1:5672,h1/", "names a host and port twice"),
        ("amqp://u:s3cr3t@h1,h2:99999/", "AMQP URL"),
    ],
)
def test_a_list_of_brokers_that_cannot_be_is_refused(url: str, words: str) -> None:
    """It says what is wrong with it, and never repeats the password."""
    with pytest.raises(ValueError, match="AMQP URL") as caught:
        IdClient(url)
    assert words in str(caught.value)
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize("name", [None, "shop"])
def test_a_connection_is_named_after_the_process_that_opens_it(name: str | None) -> None:
    """Not after its parent, unless it was given a name."""
    [broker] = IdClient("amqp://127.0.0.1:1/", name=name)._options.brokers

    def named() -> str:
        return str((renewed(broker).client_properties or {})["connection_name"])

    def own_name() -> bool:
        return named() == (name or f"{named().rpartition(':')[0]}:{os.getpid()}")

    assert own_name()
    assert in_child(own_name) == "True"


def test_the_broker_is_told_the_version_of_the_package() -> None:
    """It stands in two places, of which the package's is not read at the start of each process."""
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text("utf-8"))
    assert project["project"]["version"] == VERSION
    (broker,) = connection_parameters("amqp://127.0.0.1/", "name")
    assert (broker.client_properties or {})["version"] == VERSION
