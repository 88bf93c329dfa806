"""Certificates as no honest authority issues them, or with keys that gRPC has not learnt."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtensionOID, NameOID

from tests.certificates import Authority, Issued

_PEM = serialization.Encoding.PEM


def issue_raw(
    authority: Authority,
    directory: Path,
    common_name: str,
    names: Sequence[tuple[int, bytes]],
    *,
    file: str = "raw",
    curve: ec.EllipticCurve | None = None,
) -> Issued:
    """A certificate with alternative names of any bytes, by their tags of RFC 5280."""
    key = ec.generate_private_key(curve or ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)]))
        .issuer_name(x509.load_pem_x509_certificate(authority.ca.read_bytes()).subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
    )
    if names:
        encoded = b"".join(bytes((0x80 + tag, len(name))) + name for tag, name in names)
        value = bytes((0x30, len(encoded))) + encoded
        extension = x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, value)
        builder = builder.add_extension(extension, critical=False)
    issued = Issued(directory / f"{file}.pem", directory / f"{file}.key")
    made = builder.sign(authority._key, hashes.SHA256())
    issued.certificate.write_bytes(made.public_bytes(_PEM))
    issued.key.touch(0o600)
    issued.key.write_bytes(
        key.private_bytes(
            _PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
    )
    return issued
