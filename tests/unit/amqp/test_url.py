"""What a client can be constructed with."""

from urllib.parse import quote

import pytest

from idalloc_client import IdClient
from idalloc_client.amqp._url import connection_parameters, user_id


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
        parameters = connection_parameters(f"amqp://{quote(name)}:secret@localhost/", "test")
        assert user_id(parameters) == expected
