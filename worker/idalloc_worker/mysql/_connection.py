"""Opens a PyMySQL connection within a deadline, over a socket that a lifeline can cut."""

import socket
import ssl
import sys
from collections.abc import Callable
from typing import Final

from idalloc_client.amqp import relax
from idalloc_worker.mysql._addresses import Endpoint, Route
from idalloc_worker.mysql._key_login import key_plugins
from idalloc_worker.mysql._lifeline import Lifeline
from idalloc_worker.mysql._reading import BoundedConnection
from idalloc_worker.mysql._sql import SESSION
from idalloc_worker.mysql._trust import SealedPassword, may_have_password
from idalloc_worker.mysql._url import MySqlAddress

PROGRAM_NAME: Final = "idalloc"


def open_connection(
    route: Route,
    lifeline: Lifeline,
    remaining: Callable[[], float],
    read_timeout: float,
    *,
    database: str | None = None,
) -> BoundedConnection:
    """Connect, log in and set up the session, in autocommit mode.

    A server that has not proved who it is gets no password, see `_mysql_trust`, and no file of
    this machine ever.

    `remaining` tells the seconds left. `read_timeout` bounds each single read from the socket: a
    server that answers a byte at a time is ended by the lifeline. Looking up a host name cannot be
    interrupted: it takes as long as the system's resolver lets it.

    Raises what the sockets, TLS and PyMySQL raise.
    """
    address = route.address
    password = address.password.encode()
    key = address.server_public_key
    connection = BoundedConnection(
        user=address.user,
        password=SealedPassword(password),
        host=address.host,
        port=address.port,
        database=address.database if database is None else database or None,
        autocommit=True,
        charset="utf8mb4",
        init_command=SESSION.text,
        program_name=PROGRAM_NAME,
        ssl=_tls_context(address),
        ssl_disabled=address.ssl is False or None,
        auth_plugin_map=key_plugins(key, password) if key else None,
        local_infile=False,
        connect_timeout=read_timeout,
        read_timeout=read_timeout,
        write_timeout=read_timeout,
        defer_connect=True,
    )
    sock = _dial(route, lifeline, remaining)
    if may_have_password(address, sock):
        connection.password = password
    connection.connect(sock)
    return connection


def _tls_context(address: MySqlAddress) -> ssl.SSLContext | None:
    """Choose TLS that is required and checked; None leaves it to what the server offers."""
    if not address.verifies_certificate:
        return None
    try:
        context = ssl.create_default_context(cafile=address.ssl_ca)
    except OSError as error:
        raise OSError(f"ssl_ca {address.ssl_ca!r} cannot be loaded: {error}") from error
    if address.ssl_cert:
        _load_certificate(context, address.ssl_cert, address.ssl_key)
    relax(context)  # strict checks refuse the certificates that MySQL makes itself
    context.check_hostname = address.verifies_identity
    return context


def _load_certificate(context: ssl.SSLContext, certificate: str, key: str | None) -> None:
    try:
        context.load_cert_chain(certificate, key)
    except OSError as error:
        named = f"ssl_cert {certificate!r}" + (f" with ssl_key {key!r}" if key else "")
        raise OSError(f"{named} cannot be loaded: {error}") from error


def _dial(route: Route, lifeline: Lifeline, remaining: Callable[[], float]) -> socket.socket:
    """Try each address that the host has. Each gets an equal share of the time that is left."""
    endpoints = route.endpoints()
    for position, endpoint in enumerate(endpoints, start=1):
        route.begin(endpoint)
        share = remaining() / (len(endpoints) - position + 1)
        try:
            return _connect(endpoint, lifeline, share)
        except OSError:
            if position == len(endpoints) or lifeline.aborted:
                raise
    raise OSError(f"the host name {route.address.host!r} has no address")


def _connect(endpoint: Endpoint, lifeline: Lifeline, timeout: float) -> socket.socket:
    if timeout <= 0:
        raise TimeoutError("no time was left to connect")
    family, sockaddr = endpoint
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.settimeout(timeout)
        lifeline.attach(sock)
        sock.connect(sockaddr)
        if family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _keep_alive(sock)
    except BaseException:
        lifeline.detach()
        sock.close()
        raise
    return sock


def _keep_alive(sock: socket.socket) -> None:
    """Find out about a dead peer within a minute, also while the connection is idle."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if sys.platform == "linux":
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
