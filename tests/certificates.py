"""A certificate authority of a test run's own, and the certificates it gives."""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509.oid import NameOID

#: What stands in the directory of write_certificates afterwards.
CA, SERVER, SERVER_KEY = "ca.pem", "server.pem", "server.key"

_PEM = serialization.Encoding.PEM
_DAY = datetime.timedelta(days=1)

PrivateKey = (
    ec.EllipticCurvePrivateKey
    | rsa.RSAPrivateKey
    | ed25519.Ed25519PrivateKey
    | ed448.Ed448PrivateKey
)


@dataclass(frozen=True)
class Issued:
    """A certificate and its key, as files of which the key's has mode 0600."""

    certificate: Path
    key: Path


class Authority:
    """An authority whose files are in a directory; each name issues one file at a time."""

    def __init__(self, directory: Path, name: str = "ca") -> None:
        self._directory = directory
        self._name = name
        self._key = ec.generate_private_key(ec.SECP256R1())
        certificate = _certificate(name, self._key, name, self._key, (), is_ca=True)
        #: The authority's own certificate.
        self.ca = directory / f"{name}.pem"
        self.ca.write_bytes(certificate.public_bytes(_PEM))

    def issue(
        self,
        name: str,
        *names: str,
        file: str = "",
        good_for: datetime.timedelta = _DAY,
        self_signed: bool = False,
        key: PrivateKey | None = None,
    ) -> Issued:
        """A certificate for DNS names, IP addresses and URIs; `name` alone without `names`.

        Replaces what was issued to the same file before. A negative `good_for` has expired.
        """
        own = key or ec.generate_private_key(ec.SECP256R1())
        issuer, issuer_key = (name, own) if self_signed else (self._name, self._key)
        made = _certificate(name, own, issuer, issuer_key, names or (name,), good_for=good_for)
        issued = Issued(
            self._directory / f"{file or name}.pem", self._directory / f"{file or name}.key"
        )
        _replace(issued.key, _key_bytes(own))
        _replace(issued.certificate, made.public_bytes(_PEM))
        return issued


def write_certificates(directory: Path) -> None:
    """Write CA, SERVER (for 127.0.0.1) and SERVER_KEY, good for a day."""
    Authority(directory).issue("server", "127.0.0.1")


def _replace(file: Path, content: bytes) -> None:
    """As whoever exchanges certificates does it: whole or not at all."""
    new = file.with_name(file.name + ".new")
    new.touch(0o600)
    new.write_bytes(content)
    new.replace(file)


def _key_bytes(key: PrivateKey) -> bytes:
    return key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _certificate(
    name: str,
    key: PrivateKey,
    issuer: str,
    issuer_key: PrivateKey,
    names: tuple[str, ...],
    *,
    good_for: datetime.timedelta = _DAY,
    is_ca: bool = False,
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 2 * _DAY)
        .not_valid_after(now + good_for)
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
    )
    if names:
        alternatives = x509.SubjectAlternativeName([_general_name(one) for one in names])
        builder = builder.add_extension(alternatives, critical=False)
    has_hash = isinstance(issuer_key, (ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey))
    return builder.sign(issuer_key, hashes.SHA256() if has_hash else None)


def _general_name(name: str) -> x509.GeneralName:
    if "://" in name:
        return x509.UniformResourceIdentifier(name)
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
