"""A MySQL server that is after the password, and then sends what no server sends."""

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from typing import Final, Self

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

SALT: Final = b"a-salt-of-20-letters"
OK: Final = b"\x00\x00\x00\x02\x00\x00\x00"
EOF: Final = b"\xfe\x00\x00\x02\x00"
_CAPABILITIES: Final = 0x00CAF7FF & ~0x0800  # all that clients know; TLS where it has any
_TLS: Final = 0x0800
KEY: Final = rsa.generate_private_key(65537, 2048)
Script = Callable[["Caller"], object]


class Caller:
    """One who logs in: what is said to it, and what it says."""

    def __init__(self, sock: socket.socket, heard: list[bytes], public_key: bytes) -> None:
        self.sock = sock
        self.public_key = public_key
        self._heard = heard
        self._next = 0

    def send(self, payload: bytes) -> None:
        header = struct.pack("<I", len(payload))[:3] + bytes([self.following])
        self._next += 1
        self.sock.sendall(header + payload)

    @property
    def following(self) -> int:
        """The number of the next packet."""
        return self._next % 256

    def receive(self) -> bytes:
        """Read a packet and keep it; raises OSError where the caller has gone."""
        header = self._exactly(4)
        self._next = header[3] + 1
        payload = self._exactly(int.from_bytes(header[:3], "little"))
        self._heard.append(payload)
        return payload

    def ask(self, payload: bytes) -> bytes:
        self.send(payload)
        return self.receive()

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = self.sock.recv(size - len(data))
            if not piece:
                raise ConnectionResetError("the caller has gone")
            data += piece
        return data


# Ways to ask for the password


def in_clear(caller: Caller) -> None:
    caller.ask(b"\xfemysql_clear_password\0")


def as_dialog(caller: Caller) -> None:
    caller.ask(b"\xfedialog\0\x04Password: ")


def full_login(caller: Caller) -> None:
    """Say that the proof does not do, and offer a key where one is asked for."""
    if caller.ask(b"\x01\x04") == b"\x02":
        caller.ask(b"\x01" + caller.public_key)


def full_login_by_switch(caller: Caller) -> None:
    caller.ask(b"\xfecaching_sha2_password\0" + SALT + b"\0")
    full_login(caller)


def sha256(caller: Caller) -> None:
    """Answer what was asked for with the greeting, which may be the password already."""
    caller.ask(b"\x01" + caller.public_key)


def sha256_by_switch(caller: Caller) -> None:
    if caller.ask(b"\xfesha256_password\0" + SALT + b"\0") == b"\x01":
        caller.ask(b"\x01" + caller.public_key)


def old_password(caller: Caller) -> None:
    caller.ask(b"\xfemysql_old_password\0" + SALT[:8] + b"\0")


def nothing(_: Caller) -> None:
    """Let everybody in."""


class HostileMySql:
    """Listens on 127.0.0.1 and serves each caller on a thread, all that it hears kept."""

    def __init__(
        self,
        script: Script = nothing,
        plugin: str = "caching_sha2_password",
        tls: ssl.SSLContext | None = None,
        then: Script | None = None,
        key: rsa.RSAPrivateKey = KEY,
    ) -> None:
        """`then` answers the statements that come after the login; by default all get an OK."""
        self._script, self._plugin, self._tls, self._then = script, plugin, tls, then
        self._key = key
        self._lock = threading.Lock()
        self._heard: list[bytes] = []
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def heard(self, secret: bytes) -> bool:
        """Whether anybody has told it this, in clear or under its key."""
        with self._lock:
            heard = list(self._heard)
        return any(
            secret in text for packet in heard for text in (packet, _decrypted(packet, self._key))
        )

    def asked_for_key(self) -> bool:
        """Whether caching_sha2_password was asked for its key."""
        with self._lock:
            return b"\x02" in self._heard

    @property
    def logins(self) -> int:
        """Count those who came."""
        with self._lock:
            return len(self._sockets)

    def packets(self) -> int:
        """Count what it was told."""
        with self._lock:
            return len(self._heard)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        with self._lock:
            sockets = list(self._sockets)
        for sock in sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                sock, _ = self._listener.accept()
                with self._lock:
                    self._sockets.append(sock)
                thread = threading.Thread(target=self._serve, args=(sock,))
                self._threads.append(thread)
                thread.start()

    def _serve(self, sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError):
            self._log_in(sock)

    def _log_in(self, sock: socket.socket) -> None:
        caller = Caller(sock, self._heard, public_pem(self._key))
        said = caller.ask(_greeting(self._plugin, tls=self._tls is not None))
        if self._tls is None or not int.from_bytes(said[:4], "little") & _TLS:
            self._go_on(caller)
            return
        with self._tls.wrap_socket(sock, server_side=True) as inside:
            with self._lock:
                self._sockets.append(inside)
            caller.sock = inside
            caller.receive()
            self._go_on(caller)

    def _go_on(self, caller: Caller) -> None:
        self._script(caller)
        caller.send(OK)
        while True:
            statement = caller.receive()
            if self._then is not None and not statement[1:].startswith((b"SET", b"SHOW")):
                self._then(caller)
            else:
                caller.send(OK)


def _greeting(plugin: str, *, tls: bool) -> bytes:
    flags = _CAPABILITIES | (_TLS if tls else 0)
    return (
        b"\x0a8.4.0-hostile\0\x01\x00\x00\x00"
        + SALT[:8]
        + b"\0"
        + struct.pack("<HBHHB", flags & 0xFFFF, 45, 2, flags >> 16, 21)
        + bytes(10)
        + SALT[8:]
        + b"\0"
        + plugin.encode()
        + b"\0"
    )


def public_pem(key: rsa.RSAPrivateKey = KEY) -> bytes:
    """Write what others may know of a key."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _decrypted(packet: bytes, key: rsa.RSAPrivateKey) -> bytes:
    if len(packet) != key.key_size // 8:
        return b""
    scheme = padding.OAEP(mgf=padding.MGF1(hashes.SHA1()), algorithm=hashes.SHA1(), label=None)
    with contextlib.suppress(ValueError):
        masked = key.decrypt(packet, scheme)
        return bytes(byte ^ SALT[at % len(SALT)] for at, byte in enumerate(masked))
    return b""
