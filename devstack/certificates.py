"""Makes certificates for servers of the tests, and authorities that sign them."""

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Authority:
    """Signs certificates; its own tells no key usage, as private ones often do not."""

    def __init__(self, name: str = "idalloc authority") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named(name)
        self.certificate = _signed(self._name, self._key, self._name, self._key, None)

    def write(self, path: Path) -> Path:
        """Write its certificate to a file."""
        path.write_bytes(self.certificate)
        return path

    def issue(self, path: Path, host: str = "127.0.0.1") -> Path:
        """Write a certificate for a host, and its key before it, to a file."""
        key = ec.generate_private_key(ec.SECP256R1())
        signed = _signed(_named("idalloc test"), key, self._name, self._key, host)
        path.write_bytes(_secret(key) + signed)
        return path


def self_signed(path: Path) -> Path:
    """Write a certificate for 127.0.0.1 that is its own authority, and its key before it."""
    key, name = ec.generate_private_key(ec.SECP256R1()), _named("idalloc test")
    path.write_bytes(_secret(key) + _signed(name, key, name, key, "127.0.0.1", ca=True))
    return path


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _secret(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _signed(
    name: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    signer: ec.EllipticCurvePrivateKey,
    host: str | None,
    *,
    ca: bool = False,
) -> bytes:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder(issuer, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(
            x509.BasicConstraints(ca=ca or host is None, path_length=None), critical=False
        )
    )
    if host is not None:
        names = x509.SubjectAlternativeName([_general_name(host)])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
