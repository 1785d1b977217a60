"""Keeps the password from a database server that has not proved who it is."""

import socket
from typing import NoReturn

from idalloc_client.amqp import is_local
from idalloc_worker.mysql._url import MySqlAddress


class PasswordWithheldError(Exception):
    """The server asks for the password itself, and nothing vouches for it."""

    def __init__(self) -> None:
        super().__init__(
            "it asks for the password itself, as caching_sha2_password does at the first login "
            "after the server's start, and not for a proof that the password is known"
        )


class SealedPassword(bytes):
    """A password from which PyMySQL can compute proofs, and which it cannot send.

    Whatever sends it, in clear or encrypted, adds a NUL to it first: plugins that ask for clear
    text, full logins of the two sha2 plugins inside TLS, and those under a key that the server has
    sent. A hash is computed from the bytes as they are.
    """

    __slots__ = ()

    def __add__(self, _: object) -> NoReturn:
        raise PasswordWithheldError


def is_local_peer(sock: socket.socket) -> bool:
    """Whether a socket is connected to this machine: a Unix socket, or a loopback address."""
    if sock.family == socket.AF_UNIX:
        return True
    try:
        return is_local(str(sock.getpeername()[0]))
    except OSError:  # it is gone already
        return False


def may_have_password(address: MySqlAddress, sock: socket.socket) -> bool:
    """Whether the server at the other end may be told the password, however it asks for it.

    Where the certificate is to be checked, no login begins before it is. A key that was given is
    to be used, and nothing else.
    """
    if address.server_public_key is not None:
        return False
    return address.verifies_certificate or address.ssl is False or is_local_peer(sock)
