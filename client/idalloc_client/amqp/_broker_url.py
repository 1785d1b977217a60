"""Reads one broker's URL, and how it is logged in to there: with a password or a certificate."""

import os
import socket
import ssl
from collections.abc import Callable, Mapping
from copy import copy
from functools import partial
from typing import Final
from urllib.parse import SplitResult, parse_qs, urlencode, urlsplit

import pika
from pika.connection import Parameters
from pika.credentials import ExternalCredentials, PlainCredentials

from idalloc_client.amqp._server_url import split_server_urls, unknown_options
from idalloc_client.amqp._url_source import LastGood

_FORM: Final = "amqp://user:password@host:port/vhost"
"""With more brokers: host1:port,host2:port."""
ILL_FORMED: Final = (
    f"the AMQP URL must look like {_FORM}; characters such as / ? # [ ] @ : in a user name or "
    "password are written %2F %3F %23 %5B %5D %40 %3A"
)
_OURS: Final = frozenset({"auth_mechanism", "cacertfile", "certfile", "keyfile"})
"""Options that pika does not know, as RabbitMQ calls them."""
_PIKAS: Final = frozenset(
    {
        "blocked_connection_timeout",
        "channel_max",
        "client_properties",
        "connection_attempts",
        "frame_max",
        "heartbeat",
        "locale",
        "retry_delay",
        "socket_timeout",
        "ssl_options",
        "stack_timeout",
        "tcp_options",
    }
)

_GUEST: Final = "guest"
"""RabbitMQ's first user, for a URL that names none."""

Credentials = PlainCredentials | ExternalCredentials


class Broker(pika.URLParameters):
    """How one broker is connected to; what may be replaced meanwhile is read anew each time."""

    login: LastGood[Credentials] | None = None
    tls: LastGood[ssl.SSLContext] | None = None
    beside: Callable[[], Credentials | None] | None = None
    """Gives the credentials of the connection that this one belongs to."""
    role: str | None = None
    """What it is for, where it is named by the process that connects: a child has another id."""
    given: Mapping[str, list[str]]
    """The URL's options."""


def process_name(role: str) -> str:
    """Name this process for people: product, role, host and process id."""
    return f"idalloc {role} {socket.gethostname()}:{os.getpid()}"


def renewed(broker: Parameters) -> Parameters:
    """Say how to connect now. What belongs to another connection logs in as that one's user."""
    if not isinstance(broker, Broker):
        return broker
    fresh = copy(broker)
    fresh.login = fresh.tls = fresh.beside = None  # pika makes a deep copy of what it is given
    if broker.role is not None:
        name = process_name(broker.role)
        fresh.client_properties = {**(broker.client_properties or {}), "connection_name": name}
    if broker.login is not None:
        fresh.credentials = broker.login.again()
        present = broker.beside() if broker.beside else None
        if isinstance(present, PlainCredentials) and present.username != user_of(fresh):
            fresh.credentials = present
    if broker.tls is not None:
        fresh.ssl_options = pika.SSLOptions(broker.tls.again(), broker.host)
    return fresh


def user_of(broker: Parameters) -> str | None:
    """Name the user that logs in; None where that is said by something else."""
    credentials = broker.credentials
    if isinstance(broker, Broker) and broker.login is not None:
        credentials = broker.login.value
    return str(credentials.username) if isinstance(credentials, PlainCredentials) else None


def read_broker(url: str) -> Broker:
    """Read the URL of one broker. Raises ValueError, which shows nothing of it."""
    broker, problem = _read(url)
    if broker is None:
        # Here, not where it was found: what Python and pika raise may quote the URL.
        raise ValueError(problem)
    return broker


def read_credentials(url: str) -> Credentials:
    """Read who logs in from the URL of brokers. Raises ValueError, which shows nothing of it."""
    parts = split_server_urls(url, ("amqp", "amqps"))[0]
    if _external(parse_qs(parts.query)):
        return ExternalCredentials()
    if not parts.password and parts.user:
        raise ValueError("names a user and no password")
    return PlainCredentials(parts.user or _GUEST, parts.password or _GUEST)


def _read(url: str) -> tuple[Broker | None, str]:
    """Return what is read, or what is wrong."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("amqp", "amqps") and parts.hostname and parts.port != 0
        login_elsewhere = "@" in parts.path + parts.query + parts.fragment
        given = parse_qs(parts.query, keep_blank_values=True)
    except (ValueError, TypeError, AttributeError):
        return None, ILL_FORMED
    if not usable:
        return None, f"the AMQP URL must look like {_FORM}"
    if login_elsewhere and "@" not in parts.netloc:
        return None, ILL_FORMED
    return _with_options(url, parts, given)


def _with_options(
    url: str, parts: SplitResult, given: Mapping[str, list[str]]
) -> tuple[Broker | None, str]:
    if problem := _wrong_options(url, parts, given):
        return None, f"the AMQP URL {problem}"
    try:
        return _parsed(parts, given), ""
    except OSError as error:
        words = error.strerror or type(error).__name__
        return None, f"the AMQP URL's options for TLS name a file that cannot be used: {words}"
    except Exception:  # noqa: BLE001  # whatever pika makes of an option
        return None, f"the AMQP URL must look like {_FORM}: bad port or option"


def _wrong_options(url: str, parts: SplitResult, given: Mapping[str, list[str]]) -> str:
    """Say what cannot be, of what pika does not look at; empty if nothing."""
    known = _PIKAS | _OURS
    external = _external(given)
    if unknown := given.keys() - known:
        return unknown_options(url, unknown, known)
    if external is None:
        return "has an auth_mechanism that is neither plain nor external"
    files = given.keys() & {"cacertfile", "certfile", "keyfile"}
    if files and (parts.scheme != "amqps" or "ssl_options" in given):
        return "has files for TLS: that needs amqps://, and no ssl_options beside them"
    if external and not (parts.scheme == "amqps" and "certfile" in parts.query):
        return "has auth_mechanism=external: that needs amqps:// and a certfile"
    if parts.username is not None and parts.password is None and not external:
        return "names a user and no password"
    return ""


def _external(given: Mapping[str, list[str]]) -> bool | None:
    """Tell whether a certificate says who logs in; None if that is not understood."""
    known = {"plain": False, "external": True}
    return known.get(given.get("auth_mechanism", ["plain"])[-1].lower())


def _parsed(parts: SplitResult, given: Mapping[str, list[str]]) -> Broker:
    """Build the parameters. Raises what pika and TLS raise."""
    pikas = {name: values for name, values in given.items() if name not in _OURS}
    parts = parts._replace(query=urlencode(pikas, doseq=True))
    external = _external(given)
    if external:
        parts = parts._replace(netloc=parts.netloc.rpartition("@")[2])  # pika wants a password
    broker = Broker(parts.geturl())
    broker.given = given
    if external:
        broker.credentials = ExternalCredentials()
    files = [given.get(name, [None])[-1] for name in ("cacertfile", "certfile", "keyfile")]
    if any(files):
        make = partial(_context, *files)
        broker.tls = LastGood(make, make(), "The certificate for the broker")
        broker.ssl_options = pika.SSLOptions(broker.tls.value, broker.host)
    if broker.ssl_options is not None:
        relax(broker.ssl_options.context)
    return broker


def _context(ca: str | None, certificate: str | None, key: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca)
    if certificate:
        context.load_cert_chain(certificate, key)
    relax(context)
    return context


def relax(context: ssl.SSLContext) -> None:
    """Accept certificates that lack what Python asks for from 3.13 on, such as the key's usage.

    Private authorities often leave it out, and so do the servers that make certificates for
    themselves. Whether a trusted authority signed, until when it holds and for which host is
    checked all the same. One policy for broker and database, on every Python.
    """
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT


def named(broker: Parameters, what: str, beside: Callable[[], Credentials | None]) -> Parameters:
    """Have a further connection show what it is for, and be of the same user."""
    named = copy(broker)
    given = broker.client_properties or {}
    name = f"{given.get('connection_name', '')} {what}"
    named.client_properties = {**given, "connection_name": name}
    if isinstance(named, Broker):
        named.beside = beside
    return named
