"""Logs in under a public key of the server that was given, never under one that it sends."""

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from pymysql.connections import Connection
from pymysql.err import OperationalError

_PROVED: Final = b"\x01\x03"  # what the server says to a right proof
_FULL_LOGIN: Final = b"\x01\x04"

Plugins = dict[str, Callable[[Connection], Any]]


def key_plugins(path: str, password: bytes) -> Plugins:
    """Give the login plugins that use the key in this file. Raises OSError."""
    key = _load(path)
    return {
        "caching_sha2_password": partial(_CachingSha2, key, password),
        "sha256_password": partial(_Sha256, key, password),
    }


def _load(path: str) -> RSAPublicKey:
    try:
        key = load_pem_public_key(Path(path).read_bytes())
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise OSError(f"server_public_key {path!r} cannot be loaded: {error}") from error
    if not isinstance(key, RSAPublicKey):
        raise OSError(f"server_public_key {path!r} is not an RSA key")
    return key


class _Sha256:
    """The plugin sha256_password; PyMySQL makes one for each login."""

    def __init__(self, key: RSAPublicKey, password: bytes, connection: Connection) -> None:
        self._key = key
        self._password = password
        self._connection: Any = connection

    def authenticate(self, packet: Any) -> Any:
        """Go on after a packet of the server's: a request for this plugin, or its own key."""
        self._take_salt(packet)
        return self._send_password()

    def _take_salt(self, packet: Any) -> bool:
        """Take the challenge of a request for this plugin; False if it is another packet."""
        if not packet.is_auth_switch_request():
            return False
        self._connection.salt = packet.read_all().removesuffix(b"\0")
        return True

    def _send_password(self) -> Any:
        salt = self._connection.salt[:20]
        text = self._password + b"\0"
        masked = bytes(byte ^ salt[at % len(salt)] for at, byte in enumerate(text))
        scheme = OAEP(mgf=MGF1(hashes.SHA1()), algorithm=hashes.SHA1(), label=None)  # noqa: S303  # the protocol's
        return self._ask(self._key.encrypt(masked, scheme))

    def _ask(self, data: bytes) -> Any:
        self._connection.write_packet(data)
        return self._connection._read_packet()  # noqa: SLF001  # a plugin's only way to an answer


class _CachingSha2(_Sha256):
    """The plugin caching_sha2_password: a proof does where the server remembers the login."""

    def authenticate(self, packet: Any) -> Any:
        """Go on after a request for this plugin, or after what became of the proof."""
        if self._take_salt(packet):
            packet = self._ask(_proof(self._password, self._connection.salt))
        said = packet.get_all_data()
        if said == _PROVED:
            return self._connection._read_packet()  # noqa: SLF001  # as above
        if said == _FULL_LOGIN:
            return self._send_password()
        raise OperationalError("caching_sha2_password: not a valid answer")


def _proof(password: bytes, salt: bytes) -> bytes:
    """XOR(SHA256(password), SHA256(SHA256(SHA256(password)), salt)), as the plugin has it."""
    once = hashlib.sha256(password).digest()
    mask = hashlib.sha256(hashlib.sha256(once).digest() + salt).digest()
    return bytes(left ^ right for left, right in zip(once, mask, strict=True))
