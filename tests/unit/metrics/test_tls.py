"""The metrics' port over TLS: real connections, certificates that are replaced and asked for."""

import shutil
import ssl
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from devstack.certificates import Authority
from devstack.servers._ports import free_port
from idalloc_worker._vitals import Vitals
from idalloc_worker.metrics._server import MetricsServer, MetricsTlsError
from idalloc_worker.metrics._sources import ProcessState
from idalloc_worker.settings._errors import SettingsError
from idalloc_worker.settings._settings import Settings, load_settings


class Nobody:
    def gather(self) -> list[ProcessState]:
        return []


@pytest.fixture
def authority() -> Authority:
    return Authority()


@pytest.fixture
def pem(authority: Authority, tmp_path: Path) -> Path:
    """Make a certificate for 127.0.0.1 with its key."""
    return authority.issue(tmp_path / "server.pem")


class Port:
    def __init__(self, **settings: object) -> None:
        self.number = free_port()
        self.vitals = Vitals.make(1)
        self.vitals.beat(1)
        made = Settings.model_validate({"metrics_port": self.number, **settings})
        server = MetricsServer.listen(made, self.vitals)
        assert server is not None
        server.serve(Nobody())
        self.listener = server._listener

    def get(self, trusted: Path, own: Path | None = None) -> str:
        context = ssl.create_default_context(cafile=trusted)
        if own is not None:
            context.load_cert_chain(own)
        url = f"https://127.0.0.1:{self.number}/livez"
        with urlopen(url, context=context, timeout=60) as answer:
            text: bytes = answer.read()
        return text.decode()

    def close(self) -> None:
        self.listener.shutdown()
        self.listener.server_close()


@pytest.fixture
def port(pem: Path) -> Iterator[Port]:
    it = Port(metrics_tls_cert=pem, metrics_tls_key=pem)
    yield it
    it.close()


def test_a_certificate_that_is_replaced(
    port: Port, pem: Path, authority: Authority, tmp_path: Path
) -> None:
    """The next connection sees the new one; while the files are half replaced, the old one."""
    ca = authority.write(tmp_path / "ca.pem")
    assert port.get(ca) == "live\n"
    other = Authority("another")
    new, new_ca = other.issue(tmp_path / "new.pem"), other.write(tmp_path / "new-ca.pem")
    pem.write_text("half of it")
    assert port.get(ca) == "live\n"
    shutil.move(new, pem)
    assert port.get(new_ca) == "live\n"
    with pytest.raises(URLError):
        port.get(ca)


def test_whoever_speaks_no_tls_is_not_answered(
    port: Port, authority: Authority, tmp_path: Path
) -> None:
    """And keeps nobody else out."""
    with pytest.raises(OSError):  # cut off, one way or the other
        urlopen(f"http://127.0.0.1:{port.number}/livez", timeout=60)
    assert port.get(authority.write(tmp_path / "ca.pem")) == "live\n"


def test_clients_that_must_show_a_certificate(
    pem: Path, authority: Authority, tmp_path: Path
) -> None:
    """One of the authority that was named, for every path."""
    clients = Authority("clients")
    trusted = authority.write(tmp_path / "ca.pem")
    port = Port(
        metrics_tls_cert=pem,
        metrics_tls_key=pem,
        metrics_tls_client_ca=clients.write(tmp_path / "clients.pem"),
    )
    own, foreign = clients.issue(tmp_path / "own.pem"), authority.issue(tmp_path / "foreign.pem")
    assert port.get(trusted, own) == "live\n"
    for certificate in (None, foreign):
        with pytest.raises(OSError):  # at the handshake or after it
            port.get(trusted, certificate)
    port.close()


def test_files_that_are_no_certificates(tmp_path: Path) -> None:
    """The command ends with a word about the settings."""
    bad = tmp_path / "bad.pem"
    bad.write_text("nothing")
    for file in (bad, tmp_path / "nowhere"):
        made = Settings.model_validate(
            {"metrics_port": free_port(), "metrics_tls_cert": file, "metrics_tls_key": file}
        )
        with pytest.raises(MetricsTlsError, match="IDALLOC_METRICS_TLS_"):
            MetricsServer.listen(made, Vitals.make(1))


@pytest.mark.parametrize("name", ["CERT", "KEY", "CLIENT_CA"])
def test_half_of_tls_is_none(name: str) -> None:
    """Nobody is to believe that a port is protected which is not."""
    with pytest.raises(SettingsError, match="for TLS both must be set"):
        load_settings(None, {}, {f"IDALLOC_METRICS_TLS_{name}": "/some/file"})
