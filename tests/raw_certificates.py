"""Certificates with alternative names of any bytes, as no honest authority issues them."""

from __future__ import annotations

import datetime
import ssl
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtensionOID, NameOID

from tests.certificates import Authority, Issued

_PEM = serialization.Encoding.PEM
# The builder refuses to write one extension twice: a second kind is made the first.
_OTHER = ExtensionOID.ISSUER_ALTERNATIVE_NAME
_OTHER_DER, _DER = b"\x06\x03\x55\x1d\x12", b"\x06\x03\x55\x1d\x11"


def issue_raw(
    authority: Authority,
    directory: Path,
    common_name: str,
    names: Sequence[tuple[int, bytes]],
    *,
    file: str = "raw",
    twice: bool = False,
) -> Issued:
    """A certificate with alternative names of any bytes, by their tags of RFC 5280.

    `twice`: in two extensions, the same; then its signature is none.
    """
    key = ec.generate_private_key(ec.SECP256R1())
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
        for oid in (ExtensionOID.SUBJECT_ALTERNATIVE_NAME, *([_OTHER] if twice else ())):
            builder = builder.add_extension(x509.UnrecognizedExtension(oid, value), critical=False)
    issued = Issued(directory / f"{file}.pem", directory / f"{file}.key")
    made = builder.sign(authority._key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
    if twice:
        made = made.replace(_OTHER_DER, _DER)
    issued.certificate.write_text(ssl.DER_cert_to_PEM_cert(made))
    issued.key.touch(0o600)
    issued.key.write_bytes(
        key.private_bytes(
            _PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
    )
    return issued
