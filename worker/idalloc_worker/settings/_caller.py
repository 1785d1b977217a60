"""What a command needs that asks workers as any caller does.

It is read here from an environment that has it plainly, without pydantic and the database's
modules, whose import takes several times as long as the rest of `idalloc next`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from idalloc_client.amqp import (
    UrlSource,
    checked_exchange,
    cleartext_warning,
    connection_parameters,
    login_apart,
    split_server_urls,
    unencrypted_logins,
    with_password,
)
from idalloc_worker.settings._service_links import is_service_link

PREFIX: Final = "IDALLOC_"
DEFAULT_AMQP_URL: Final = "amqp://guest:guest@127.0.0.1:5672/"
_LONGEST_USER: Final = 255  # bytes: AMQP's limit for a property
_ELSEWHERE: Final = ("AMQP_URL_FILE", "AMQP_PASSWORD", "AMQP_PASSWORD_FILE")


@dataclass(frozen=True, slots=True)
class CallerSettings:
    """The settings that concern a caller, under their names in `Settings`."""

    broker: UrlSource
    request_exchange: str
    fleet_users: tuple[str, ...]


def plain_caller_settings(environ: Mapping[str, str]) -> CallerSettings | None:
    """Read them where a variable holds the whole URL of the broker, or none does.

    None where that is not so, or a value is wrong: `load_settings` says what. What concerns only
    workers is not looked at.
    """
    if any(environ.get(PREFIX + name) for name in _ELSEWHERE):
        return None
    url = environ.get(f"{PREFIX}AMQP_URL") or DEFAULT_AMQP_URL
    exchange = environ.get(f"{PREFIX}REQUEST_EXCHANGE", "")
    users = environ.get(f"{PREFIX}FLEET_USERS", "")
    if any(map(is_service_link, (url, exchange, users))):
        return None
    try:
        connection_parameters(url, "")  # as it is: no password will be added
        return CallerSettings(
            checked_amqp_url(url),
            checked_exchange(exchange),
            tuple(map(checked_user, names_in(users))),
        )
    except ValueError:
        return None


def broker_warnings(url: UrlSource) -> list[str]:
    """Warn of a connection to the broker without TLS."""
    warnings = map(cleartext_warning, unencrypted_logins(connection_parameters(url, "")))
    return [warning for warning in warnings if warning is not None]


def checked_amqp_url(url: str) -> str:
    """Return a URL that can be used once its password is known. Raises ValueError."""
    if not all(parts.host for parts in split_server_urls(url, ("amqp", "amqps"))):
        raise ValueError("names no host")
    login = login_apart(url)[0]
    # It may be given apart, which is looked at later.
    whole = with_password(url, "x") if login and ":" not in login else url
    connection_parameters(whole, "")  # all that pika has against it, before anything starts
    return url


def names_in(text: str) -> tuple[str, ...]:
    """Split names with commas between them."""
    names = text.strip(" ,")
    return tuple(name.strip() for name in names.split(",")) if names else ()


def checked_user(name: str) -> str:
    """Return a name that a user of RabbitMQ can have. Raises ValueError."""
    if not 1 <= len(name.encode()) <= _LONGEST_USER or ":/" in name:
        raise ValueError(
            f"must be names of 1 to {_LONGEST_USER} bytes, no URLs, with commas between them"
        )
    return name
