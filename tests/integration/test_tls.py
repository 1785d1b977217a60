"""A connection with TLS: pika's own stream below, ours above it, and the same reader."""

import asyncio
import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from devstack import Database, TcpProxy
from devstack.certificates import Authority, self_signed
from devstack.workers import Fleet
from idalloc_client import AsyncIdClient, IdClient
from idalloc_worker.requests._acks import HELD_FOR

_CHUNK = 16_384


class TlsFront:
    """Ends TLS on 127.0.0.1, and passes what is inside on to a port there."""

    def __init__(self, certificate: Path, target_port: int) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate)
        self._target = ("127.0.0.1", target_port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self) -> None:
        """Accept nobody any more, and wait for the others to leave."""
        self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                plain, _ = self._listener.accept()
                thread = threading.Thread(target=self._serve, args=(plain,))
                self._threads.append(thread)
                thread.start()

    def _serve(self, plain: socket.socket) -> None:
        with (
            self._context.wrap_socket(plain, server_side=True) as caller,
            socket.create_connection(self._target) as broker,
        ):
            up = threading.Thread(target=_pass_on, args=(caller, broker))
            up.start()
            _pass_on(broker, caller)
            up.join(10)


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(_CHUNK):
            target.sendall(data)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Make a certificate for 127.0.0.1 that is its own authority, with its key."""
    return self_signed(tmp_path / "certificate.pem")


@pytest.fixture
def signed(tmp_path: Path) -> tuple[Path, Path]:
    """Make a private authority that tells no key usage, and a certificate that it signed."""
    authority = Authority()
    return authority.write(tmp_path / "authority.pem"), authority.issue(tmp_path / "signed.pem")


@pytest.fixture
def tls_url(vhost: str, proxy: TcpProxy, certificate: Path) -> Iterator[str]:
    """Give an AMQP URL with TLS, to the broker behind the proxy."""
    front = TlsFront(certificate, proxy.port)
    parts = urlsplit(vhost)
    user_info = parts.netloc.rpartition("@")[0]
    options = quote(repr({"ca_certs": str(certificate)}))
    yield parts._replace(
        scheme="amqps",
        netloc=f"{user_info}@127.0.0.1:{front.port}",
        query=f"ssl_options={options}",
    ).geturl()
    front.close()


def test_a_private_authority_in_the_systems_store(
    fleet: Fleet, signed: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python is strict from 3.13 on: an authority need not tell its key's usage all the same."""
    make_context = ssl.create_default_context

    def strict(*args: Any, **options: Any) -> ssl.SSLContext:
        context = make_context(*args, **options)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    fleet.start()
    monkeypatch.setattr(ssl, "create_default_context", strict)
    authority, certificate = signed
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    parts = urlsplit(fleet.amqp_url)
    front = TlsFront(certificate, parts.port or 5672)
    user_info = parts.netloc.rpartition("@")[0]
    url = parts._replace(scheme="amqps", netloc=f"{user_info}@127.0.0.1:{front.port}").geturl()
    try:
        with IdClient(url) as client:
            assert client.next_id("test_business", timeout=30) == 1
    finally:
        front.close()


def test_a_worker_and_clients_with_tls(
    tls_url: str, proxy: TcpProxy, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    """They serve and ask, lose the connection, and go on, each as without TLS."""

    async def ask(first: int) -> None:
        async with AsyncIdClient(tls_url) as client:
            calls = (client.next_id("test_business", timeout=30) for _ in range(50))
            ids = await asyncio.gather(*calls)
            assert sorted(ids) == list(range(first, first + 50))

    with Fleet(tls_url, database.url) as fleet, IdClient(tls_url) as client:
        (worker,) = fleet.start()
        assert client.next_id("test_business", timeout=30) == 1
        asyncio.run(ask(2))
        wait_for_acknowledgements(client)
        proxy.drop()
        assert client.next_id("test_business", timeout=30) == 52
        assert client.stats().connections_lost == 1
        asyncio.run(ask(53))
        for log in (caplog.text, worker.log.read_text()):
            assert "pika's own I/O" not in log


def wait_for_acknowledgements(client: IdClient) -> None:
    """Let the only worker acknowledge what it answered: else that is answered once more.

    The first question is read after they were due, and the second answer is written after them.
    """
    time.sleep(2 * HELD_FOR)
    for _ in range(2):
        client.health(timeout=30)
