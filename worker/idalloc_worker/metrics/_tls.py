"""TLS of the metrics server, with certificates that are replaced while it runs."""

import logging
import socket
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from idalloc_worker.settings import Settings

_log = logging.getLogger("idalloc.metrics")

_Stamp = tuple[tuple[int, int, int], ...]


class ServerTls:
    """Wraps connections that were accepted; the handshake comes later, on the thread that serves.

    Certificates are short-lived where they are issued by a machine: files that have changed are
    read again before the next connection.
    """

    def __init__(self, cert: Path, key: Path, client_ca: Path | None) -> None:
        self._cert, self._key, self._client_ca = cert, key, client_ca
        self._files = [file for file in (cert, key, client_ca) if file is not None]
        self._stamp = _stamp(self._files)
        self._context = self._read()

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """Read what is set; None without TLS. Raises OSError, of which ssl.SSLError is one."""
        cert, key = settings.metrics_tls_cert, settings.metrics_tls_key
        if cert is None or key is None:  # the settings see that both are there, or none
            return None
        return cls(cert, key, settings.metrics_tls_client_ca)

    def wrap(self, connection: socket.socket) -> ssl.SSLSocket:
        """Have a connection begin with a handshake, at its first read."""
        self._read_again()
        return self._context.wrap_socket(
            connection, server_side=True, do_handshake_on_connect=False
        )

    def _read(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self._cert, self._key)
        if self._client_ca is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self._client_ca)
        return context

    def _read_again(self) -> None:
        try:
            stamp = _stamp(self._files)
            if stamp != self._stamp:
                self._context = self._read()
                self._stamp = stamp
        except OSError as error:  # they may be half replaced
            _log.warning("The certificate of the metrics is not replaced: %s", error)


def _stamp(files: Sequence[Path]) -> _Stamp:
    found = [file.stat() for file in files]
    return tuple((it.st_ino, it.st_mtime_ns, it.st_size) for it in found)
