"""What a caller needs is read without the models where it is plain, and as they read it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idalloc_worker.settings._caller import plain_caller_settings
from idalloc_worker.settings._errors import SettingsError
from idalloc_worker.settings._settings import load_settings

URLS = st.sampled_from(
    [
        "",
        "amqp://127.0.0.1/",
        "amqp://me:s3cret@b1,b2:5673/ids",
        "amqps://me@b/",
        "amqp://",
        "http://b/",
        "tcp://10.0.0.1:5672",
        "amqp://b/?heartbeat=x",
    ]
)
EXCHANGES = st.sampled_from(["", "id.requests", "amqp://b", "x" * 256, "tcp://10.0.0.1:1"])
USERS = st.sampled_from(["", "a", " a , b,", ",", "a,,b", "x" * 256, "é" * 128, "amqp://a:b@c"])


@given(URLS, EXCHANGES, USERS)
def test_both_ways_agree(url: str, exchange: str, users: str) -> None:
    """Who is told no settings here is told there what is wrong, or the same."""
    environ = {
        "IDALLOC_AMQP_URL": url,
        "IDALLOC_REQUEST_EXCHANGE": exchange,
        "IDALLOC_FLEET_USERS": users,
    }
    plain = plain_caller_settings(environ)
    if plain is None:
        return
    settings = load_settings(None, {}, environ)
    assert plain.broker == settings.broker_url()
    assert plain.request_exchange == settings.request_exchange
    assert plain.fleet_users == settings.fleet_users


@given(URLS, EXCHANGES, USERS)
def test_what_is_wrong_is_left_to_who_says_it(url: str, exchange: str, users: str) -> None:
    """A value that the settings refuse is not used."""
    environ = {
        "IDALLOC_AMQP_URL": url,
        "IDALLOC_REQUEST_EXCHANGE": exchange,
        "IDALLOC_FLEET_USERS": users,
    }
    try:
        load_settings(None, {}, environ)
    except SettingsError:
        assert plain_caller_settings(environ) is None


@pytest.mark.parametrize("name", ["AMQP_URL_FILE", "AMQP_PASSWORD", "AMQP_PASSWORD_FILE"])
def test_secrets_given_apart_are_not_plain(name: str) -> None:
    """They are put together elsewhere."""
    assert plain_caller_settings({f"IDALLOC_{name}": "x"}) is None


def test_what_concerns_workers_is_not_looked_at() -> None:
    """A caller needs no database."""
    assert plain_caller_settings({"IDALLOC_MYSQL_URL": "wrong", "IDALLOC_PREFETCH": "-1"})
