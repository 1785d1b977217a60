"""What a client is constructed with: checks it, and adds the defaults that an RPC needs."""

import os
import socket
from importlib.metadata import PackageNotFoundError, version
from urllib.parse import parse_qs, urlsplit

import pika

MAX_TIMEOUT = 30 * 24 * 3600
"""Seconds; RabbitMQ keeps no message's expiration beyond 49 days."""

_FORM = "amqp://user:password@host:port/vhost"
_HEARTBEAT = 15  # seconds: a peer that vanished without a word is noticed within two of them
_MAX_USER_ID = 255  # bytes: AMQP's limit for a property
_CONNECT_TIMEOUT = 5.0  # seconds, for TCP and for each of TLS and login


def connection_parameters(url: str, name: str) -> pika.URLParameters:
    """Read `amqp://user:password@host:port/vhost?options`; pika documents the options.

    Raises ValueError, without the URL in its text: it holds a password.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("amqp", "amqps") or not parts.hostname:
        raise ValueError(f"the AMQP URL must look like {_FORM}")
    try:
        parameters = pika.URLParameters(url)
    except (ValueError, TypeError, AttributeError, SyntaxError):
        raise ValueError(f"the AMQP URL must look like {_FORM}: bad port or option") from None
    except OSError as error:
        raise ValueError(
            f"the AMQP URL's ssl_options name a file that cannot be used: {error.strerror}"
        ) from None
    given = parse_qs(parts.query)
    if "heartbeat" not in given:
        parameters.heartbeat = _HEARTBEAT
    if "socket_timeout" not in given:
        parameters.socket_timeout = _CONNECT_TIMEOUT
    if "stack_timeout" not in given:
        parameters.stack_timeout = 2 * _CONNECT_TIMEOUT
    parameters.connection_attempts = 1  # the link has its own backoff
    parameters.client_properties = {
        "connection_name": name,
        "product": "idalloc",
        "version": product_version(),
    }
    return parameters


def user_id(parameters: pika.connection.Parameters) -> str | None:
    """Tell the user that the broker can vouch for; None where it goes by something else."""
    credentials = parameters.credentials
    if not isinstance(credentials, pika.PlainCredentials):
        return None
    name = str(credentials.username)
    # A token's or a directory's name may be too long for the property that would carry it.
    return name if len(name.encode()) <= _MAX_USER_ID else None


def product_version() -> str:
    """Tell the installed version; a checkout that is not installed has none."""
    try:
        return version("idalloc")
    except PackageNotFoundError:
        return "unknown"


def process_name(role: str) -> str:
    """Name this process for people: product, role, host and process id."""
    return f"idalloc {role} {socket.gethostname()}:{os.getpid()}"


def checked_timeout(timeout: float) -> float:
    """Return a timeout that can be kept. Raises ValueError."""
    if not 0 <= timeout <= MAX_TIMEOUT:
        raise ValueError(
            f"timeout must be a number of seconds from 0 to {MAX_TIMEOUT}, not {timeout!r}"
        )
    return timeout
