"""Certificates that an authority should not have given, for tests of what is said of them."""

from __future__ import annotations

import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from tests.certificates import Issued

_DAY = datetime.timedelta(days=1)
_PEM = serialization.Encoding.PEM

#: Signed with SHA-1, which the library does not do any more; good until 2126.
OF_SHA_1 = b"""\
-----BEGIN CERTIFICATE-----
MIIBgjCCASqgAwIBAgIUBMlcrPROknKaiC5IZBnim/yZfWgwCQYHKoZIzj0EATAb
MRkwFwYDVQQDDBBhbiBvbGQgYXV0aG9yaXR5MCAXDTI2MTEyMjIzMjMwNVoYDzIx
MjYxMDI5MjMyMzA1WjARMQ8wDQYDVQQDDAZzZXJ2ZXIwWTATBgcqhkjOPQIBBggq
hkjOPQMBBwNCAASipQs5XYewX/QapIBdkTJ2pz4sUasge7vv1sf/b3lszeVERuZB
dEVMn2LPM/vdcH70AHQFH5G9Z1i/t+sWwmNco1UwUzARBgNVHREECjAIggZzZXJ2
ZXIwHQYDVR0OBBYEFEkV0c5k9IMwUjfTTJ9TJPQqIV8VMB8GA1UdIwQYMBaAFKpj
OBDBKszI8oRKol5xBTeDGPjBMAkGByqGSM49BAEDRwAwRAIgB/sDHbgUbVew8FWJ
XsE4lsAZzO7/O/eni2PfQRSP8D4CIAeR+JCkmXf4GNbKb1niJnapqITC7eAbFr4m
/ZHLn/8/
-----END CERTIFICATE-----
"""

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def unusual(
    directory: Path,
    *extensions: x509.ExtensionType,
    key: Key | None = None,
    begins: datetime.timedelta = -2 * _DAY,
    ends: datetime.timedelta = 90 * _DAY,
) -> Issued:
    """A certificate of an authority that nobody has; times count from now."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name("server"))
        .issuer_name(_name("an intermediate one"))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begins)
        .not_valid_after(now + ends)
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    signer = key if isinstance(key, rsa.RSAPrivateKey) else ec.generate_private_key(ec.SECP256R1())
    issued = Issued(directory / "server.pem", directory / "server.key")
    issued.key.touch(0o600)
    issued.key.write_bytes(
        key.private_bytes(
            _PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
    )
    signed = builder.sign(signer, hashes.SHA256())
    issued.certificate.write_bytes(signed.public_bytes(_PEM))
    return issued


def names(*dns_names: str) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([x509.DNSName(name) for name in dns_names])


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
