"""A certificate authority for development: a key and a certificate in one directory.

Whoever reads the directory can be anybody to all who trust its ca.pem. Production
has an authority of the company's, whose key is not beside what it signs.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from wxauth_client.certificates import read_certificates
from wxauth_client.file_watch import FileUnusable
from wxauth_server.private_file import locked_directory, replace_private_file

CA = "ca"
SERVER = "server"

#: What a server's certificate is for, besides the names that are asked for.
THIS_MACHINE = ("localhost", "127.0.0.1", "::1")

#: The authority outlives what it signs; who needs longer makes another one.
_AUTHORITY_DAYS = 3650
#: Clocks of several machines differ; more than this and other things break first.
_CLOCK_SKEW = timedelta(minutes=5)
# How we know an authority that is ours from one that we must not touch.
_AUTHORITY_NAME = x509.Name(
    [x509.NameAttribute(NameOID.COMMON_NAME, "wxauth development authority")]
)


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate and its key, each a file of mode 0600."""

    certificate: Path
    key: Path
    #: DNS names and IP addresses it is good for.
    names: tuple[str, ...]
    ends: datetime


class DevelopmentCA:
    """The authority of a directory while this process alone changes it; see `opened`."""

    def __init__(
        self, directory: Path, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate
    ) -> None:
        self._directory = directory
        self._key = key
        self._certificate = certificate
        #: What whoever connects has to have.
        self.certificate_file = directory / f"{CA}.pem"

    @property
    def has_server(self) -> bool:
        return (self._directory / f"{SERVER}.pem").exists()

    def issue_server(self, names: tuple[str, ...], days: int) -> Issued:
        """server.pem and server.key, for these names and THIS_MACHINE."""
        return self._issue(
            SERVER,
            tuple(dict.fromkeys((*names, *THIS_MACHINE))),
            ExtendedKeyUsageOID.SERVER_AUTH,
            days,
        )

    def issue_client(self, name: str, days: int) -> Issued:
        """NAME.pem and NAME.key, with which a caller proves that it is NAME."""
        return self._issue(name, (name,), ExtendedKeyUsageOID.CLIENT_AUTH, days)

    def _issue(
        self, file: str, names: tuple[str, ...], usage: x509.ObjectIdentifier, days: int
    ) -> Issued:
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC).replace(microsecond=0)
        # Nobody accepts a certificate whose authority has expired.
        ends = min(now + timedelta(days=days), self._certificate.not_valid_after_utc)
        issuer_id = self._certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
        certificate = (
            _builder(
                x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, file)]),
                key.public_key(),
                now,
                ends,
            )
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_id.value),
                critical=False,
            )
            .add_extension(
                x509.SubjectAlternativeName([_general_name(name) for name in names]),
                critical=False,
            )
            .sign(self._key, hashes.SHA256())
        )
        issued = Issued(
            self._directory / f"{file}.pem", self._directory / f"{file}.key", names, ends
        )
        # Two files, so for a moment they do not match: who follows them waits for both.
        _write(issued.key, _key_content(key))
        _write(issued.certificate, certificate.public_bytes(Encoding.PEM))
        return issued


@contextlib.contextmanager
def opened(directory: Path) -> Iterator[DevelopmentCA]:
    """The authority of a directory, made with it if there is none; other processes wait.

    Raises: FileUnusable when the directory holds something else, or an authority
    that is not ours, is incomplete, is open to others or has expired.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked_directory(directory):
            yield _load(directory) if any(directory.iterdir()) else _make(directory)
    except OSError as error:
        raise FileUnusable(f"{directory} cannot be used: {error.strerror}") from None


def _make(directory: Path) -> DevelopmentCA:
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC).replace(microsecond=0)
    ends = now + timedelta(days=_AUTHORITY_DAYS)
    certificate = (
        _builder(_AUTHORITY_NAME, key.public_key(), now, ends)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    # The key last: without it the next run says what is missing.
    _write(directory / f"{CA}.pem", certificate.public_bytes(Encoding.PEM))
    _write(directory / f"{CA}.key", _key_content(key))
    return DevelopmentCA(directory, key, certificate)


def _load(directory: Path) -> DevelopmentCA:
    certificate_file, key_file = directory / f"{CA}.pem", directory / f"{CA}.key"
    if not (os.path.lexists(certificate_file) or os.path.lexists(key_file)):
        raise FileUnusable(
            f"{directory} holds other files and no authority of wxauth dev-ca: name a new directory"
        )
    for file in (certificate_file, key_file):
        if not os.path.lexists(file):
            raise FileUnusable(
                f"{file} is missing, so nothing can be signed: name a new directory for a new "
                "authority"
            )
    read = read_certificates(certificate_file=certificate_file, key_file=key_file, ca_file=None)
    assert read.certificate is not None  # noqa: S101 - both files were given
    assert read.key is not None  # noqa: S101
    try:
        certificate = x509.load_pem_x509_certificate(read.certificate)
        key = load_pem_private_key(read.key, password=None)
    except ValueError:
        raise FileUnusable(f"{directory} holds no authority of wxauth dev-ca") from None
    if certificate.subject != _AUTHORITY_NAME or not isinstance(key, ec.EllipticCurvePrivateKey):
        raise FileUnusable(
            f"{certificate_file} is another authority, not one of wxauth dev-ca: "
            "name a new directory"
        )
    if certificate.not_valid_after_utc <= datetime.now(UTC):
        raise FileUnusable(f"{certificate_file} has expired: name a new directory for a new one")
    return DevelopmentCA(directory, key, certificate)


def _builder(
    subject: x509.Name, public_key: ec.EllipticCurvePublicKey, now: datetime, ends: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(_AUTHORITY_NAME)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(ends)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _key_content(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _write(file: Path, content: bytes) -> None:
    # Certificates are no secrets, but nobody else gets into the directory anyway.
    replace_private_file(file, content, owner=None)
