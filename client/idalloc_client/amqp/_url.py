"""What a client is constructed with: checks it, and adds the defaults that an RPC needs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import pika

from idalloc_client.amqp._broker_url import (
    ILL_FORMED,
    Broker,
    Credentials,
    read_broker,
    read_credentials,
    user_of,
)
from idalloc_client.amqp._server_url import login_apart, split_hosts
from idalloc_client.amqp._url_source import LastGood, UrlSource, text_of

VERSION: Final = "0.1.0"
"""As pyproject.toml has it: to look it up takes as long as a third of this package's import."""

MAX_TIMEOUT = 30 * 24 * 3600
"""Seconds; RabbitMQ keeps no message's expiration beyond 49 days."""

_HEARTBEAT = 6
"""Seconds: a broker that is silent for one and a half of them is left for another one (`Link`).

RabbitMQ's guide on heartbeats calls 5 to 20 s optimal for most. A node that was stopped by SIGSTOP
is noticed within 10 s with this value, and within 24 with the 15 of before."""
Brokers = Sequence[pika.connection.Parameters]
"""How each broker of a URL is connected to, one of them at least."""

_MAX_USER_ID = 255  # bytes: AMQP's limit for a property
_MAX_NAME = 255  # bytes: AMQP's limit for a name
_CONNECT_TIMEOUT = 5.0  # seconds, for TCP and for each of TLS and login


def connection_parameters(url: UrlSource, name: str) -> tuple[Broker, ...]:
    """Read `amqp://user:password@host1:port,host2:port/vhost?options`, one for each broker named.

    pika documents the options, RabbitMQ `auth_mechanism`, `cacertfile`, `certfile` and `keyfile`;
    they hold for all brokers. Where the URL comes from a file or a callable, user and password are
    read anew at each connect, and where a client certificate is named, that is.

    Raises ValueError without the URL in its text, nor in an error that comes with it: it holds a
    password.
    """
    text, brokers = _read(url, name)
    if not isinstance(url, str):
        login = LastGood(lambda: _login(url, text), brokers[0].credentials, "The AMQP URL")
        for broker in brokers:
            broker.login = login
    return brokers


def _read(url: UrlSource, name: str) -> tuple[str, tuple[Broker, ...]]:
    try:
        text = text_of(url)
        urls = split_hosts(text)
    except (ValueError, TypeError, AttributeError) as error:
        problem = str(error) if isinstance(error, ValueError) else ""
    else:
        return text, _distinct([_one_broker(each, name) for each in urls])
    raise ValueError(f"the AMQP URL {problem}" if problem else ILL_FORMED)


def _login(url: UrlSource, first: str) -> Credentials:
    """Read the user and password that a URL has now. Raises ValueError, also for another URL."""
    text = text_of(url)
    if login_apart(text)[1] != login_apart(first)[1]:
        raise ValueError("names other brokers or options than at the start: restart to use them")
    return read_credentials(text)


def _distinct(brokers: list[Broker]) -> tuple[Broker, ...]:
    if len({(broker.host, broker.port) for broker in brokers}) < len(brokers):
        raise ValueError("the AMQP URL names a host and port twice; name each broker once")
    return tuple(brokers)


def _one_broker(url: str, name: str) -> Broker:
    broker = read_broker(url)
    if "heartbeat" not in broker.given:
        broker.heartbeat = _HEARTBEAT
    if "socket_timeout" not in broker.given:
        broker.socket_timeout = _CONNECT_TIMEOUT
    if "stack_timeout" not in broker.given:
        broker.stack_timeout = 2 * _CONNECT_TIMEOUT
    broker.connection_attempts = 1  # the link has its own backoff
    broker.client_properties = {
        "connection_name": name,
        "product": "idalloc",
        "version": VERSION,
    }
    return broker


@dataclass(frozen=True, slots=True)
class Login:
    """Who logs in with a password, and where."""

    user: str
    host: str
    port: int


def unencrypted_logins(brokers: Brokers) -> list[Login]:
    """List the logins whose password travels without TLS."""
    return [
        Login(str(broker.credentials.username), str(broker.host), int(broker.port))
        for broker in brokers
        if broker.ssl_options is None and isinstance(broker.credentials, pika.PlainCredentials)
    ]


def user_id(brokers: Brokers) -> str | None:
    """Tell the user that a broker can vouch for; None where it goes by something else."""
    name = user_of(brokers[0])
    # A token's or a directory's name may be too long for the property that would carry it.
    return name if name is not None and len(name.encode()) <= _MAX_USER_ID else None


def user_ids(names: str | Iterable[str]) -> frozenset[bytes]:
    """Read the names of users, one or several, as messages carry them. Raises ValueError."""
    users = frozenset(name.encode() for name in ([names] if isinstance(names, str) else names))
    if not all(1 <= len(user) <= _MAX_USER_ID for user in users):
        raise ValueError(f"workers must be names of RabbitMQ users, of 1 to {_MAX_USER_ID} bytes")
    return users


def checked_exchange(name: str) -> str:
    """Return the name of an exchange that can be. Raises ValueError."""
    if ":/" in name or len(name.encode()) > _MAX_NAME:
        raise ValueError(f"must be the name of an exchange, of at most {_MAX_NAME} bytes")
    return name


def checked_timeout(timeout: float) -> float:
    """Return a timeout that can be kept. Raises ValueError."""
    if not 0 <= timeout <= MAX_TIMEOUT:
        raise ValueError(
            f"timeout must be a number of seconds from 0 to {MAX_TIMEOUT}, not {timeout!r}"
        )
    return timeout
