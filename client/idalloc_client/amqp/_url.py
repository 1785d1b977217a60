"""What a client is constructed with: checks it, and adds the defaults that an RPC needs."""

import os
import socket
import ssl
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from urllib.parse import parse_qs, urlsplit

import pika

from idalloc_client.amqp._server_url import split_hosts

MAX_TIMEOUT = 30 * 24 * 3600
"""Seconds; RabbitMQ keeps no message's expiration beyond 49 days."""

_FORM = "amqp://user:password@host:port/vhost"
"""With more brokers: host1:port,host2:port."""
_ILL_FORMED = (
    f"the AMQP URL must look like {_FORM}; characters such as / ? # [ ] @ : in a user name or "
    "password are written %2F %3F %23 %5B %5D %40 %3A"
)
_HEARTBEAT = 6
"""Seconds: a broker that is silent for one and a half of them is left for another one (`Link`).

RabbitMQ's guide on heartbeats calls 5 to 20 s optimal for most. A node that was stopped by SIGSTOP
is noticed within 10 s with this value, and within 24 with the 15 of before."""
Brokers = Sequence[pika.connection.Parameters]
"""How each broker of a URL is connected to, one of them at least."""

_MAX_USER_ID = 255  # bytes: AMQP's limit for a property
_MAX_NAME = 255  # bytes: AMQP's limit for a name
_CONNECT_TIMEOUT = 5.0  # seconds, for TCP and for each of TLS and login


def connection_parameters(url: str, name: str) -> tuple[pika.URLParameters, ...]:
    """Read `amqp://user:password@host1:port,host2:port/vhost?options`, one for each broker named.

    pika documents the options; they hold for all brokers.

    Raises ValueError without the URL in its text, nor in an error that comes with it: it holds a
    password.
    """
    try:
        urls = split_hosts(url)
    except (ValueError, TypeError, AttributeError) as error:
        problem = str(error) if isinstance(error, ValueError) else ""
    else:
        return _distinct([_one_broker(each, name) for each in urls])
    raise ValueError(f"the AMQP URL {problem}" if problem else _ILL_FORMED)


def _distinct(brokers: list[pika.URLParameters]) -> tuple[pika.URLParameters, ...]:
    if len({(broker.host, broker.port) for broker in brokers}) < len(brokers):
        raise ValueError("the AMQP URL names a host and port twice; name each broker once")
    return tuple(brokers)


def _one_broker(url: str, name: str) -> pika.URLParameters:
    parameters, given, problem = _read(url)
    if parameters is None:
        # Here, not where it was found: what Python and pika raise may quote the URL.
        raise ValueError(problem)
    if "heartbeat" not in given:
        parameters.heartbeat = _HEARTBEAT
    if "socket_timeout" not in given:
        parameters.socket_timeout = _CONNECT_TIMEOUT
    if "stack_timeout" not in given:
        parameters.stack_timeout = 2 * _CONNECT_TIMEOUT
    if parameters.ssl_options is not None:
        relax(parameters.ssl_options.context)
    parameters.connection_attempts = 1  # the link has its own backoff
    parameters.client_properties = {
        "connection_name": name,
        "product": "idalloc",
        "version": product_version(),
    }
    return parameters


def relax(context: ssl.SSLContext) -> None:
    """Accept certificates that lack what Python asks for from 3.13 on, such as the key's usage.

    Private authorities often leave it out, and so do the servers that make certificates for
    themselves. Whether a trusted authority signed, until when it holds and for which host is
    checked all the same. One policy for broker and database, on every Python.
    """
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT


def _read(url: str) -> tuple[pika.URLParameters | None, Collection[str], str]:
    """Return what is read and the options given, or what is wrong."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("amqp", "amqps") and parts.hostname and parts.port != 0
        login_elsewhere = "@" in parts.path + parts.query + parts.fragment
    except (ValueError, TypeError, AttributeError):
        return None, (), _ILL_FORMED
    if not usable:
        return None, (), f"the AMQP URL must look like {_FORM}"
    if login_elsewhere and "@" not in parts.netloc:
        return None, (), _ILL_FORMED
    try:
        return pika.URLParameters(url), parse_qs(parts.query), ""
    except OSError as error:
        words = error.strerror or type(error).__name__
        return None, (), f"the AMQP URL's ssl_options name a file that cannot be used: {words}"
    except Exception:  # noqa: BLE001  # whatever pika makes of an option
        return None, (), f"the AMQP URL must look like {_FORM}: bad port or option"


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
    credentials = brokers[0].credentials
    if not isinstance(credentials, pika.PlainCredentials):
        return None
    name = str(credentials.username)
    # A token's or a directory's name may be too long for the property that would carry it.
    return name if len(name.encode()) <= _MAX_USER_ID else None


def user_ids(names: str | Iterable[str]) -> frozenset[bytes]:
    """Read the names of users, one or several, as messages carry them. Raises ValueError."""
    users = frozenset(name.encode() for name in ([names] if isinstance(names, str) else names))
    if not all(1 <= len(user) <= _MAX_USER_ID for user in users):
        raise ValueError(f"workers must be names of RabbitMQ users, of 1 to {_MAX_USER_ID} bytes")
    return users


def product_version() -> str:
    """Tell the installed version; a checkout that is not installed has none."""
    try:
        return version("idalloc")
    except PackageNotFoundError:
        return "unknown"


def process_name(role: str) -> str:
    """Name this process for people: product, role, host and process id."""
    return f"idalloc {role} {socket.gethostname()}:{os.getpid()}"


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
