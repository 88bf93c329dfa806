"""What a certificate says of itself: its names, its extensions, and whether gRPC takes its key.

Certificates come from others: one that is not in the form of RFC 5280 is no fault of ours.
"""

from __future__ import annotations

from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import PublicKeyAlgorithmOID

#: NIST SP 800-131A revision 2: shorter keys are disallowed. OpenSSL's clients refuse them.
LEAST_RSA_BITS = 2048

#: What loading one raises that is none, or of a version of X.509 that there is not.
NO_CERTIFICATE = (ValueError, x509.InvalidVersion)
_UNREADABLE = (
    ValueError,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
# BoringSSL's clients offer no signature of P-521 or Ed25519, and other curves it does not
# know at all (measured with grpcio 1.85).
_CURVES = (ec.SECP256R1, ec.SECP384R1)
_KEYS_OF_GRPC = (
    f"gRPC connects with RSA of {LEAST_RSA_BITS} bits or more and with ECDSA on P-256 or P-384"
)

ExtensionT = TypeVar("ExtensionT", bound=x509.ExtensionType)


def has_readable_extensions(certificate: x509.Certificate) -> bool:
    """Whether it can be said what a certificate is for; names of rare kinds make it unreadable."""
    try:
        _ = certificate.extensions
    except _UNREADABLE:
        return False
    return True


def extension_of(certificate: x509.Certificate, kind: type[ExtensionT]) -> ExtensionT | None:
    """One of its extensions; None also where they cannot be read."""
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except (x509.ExtensionNotFound, *_UNREADABLE):
        return None


def host_names_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """Its subject alternative names that a connection is made by: DNS names and addresses."""
    names = extension_of(certificate, x509.SubjectAlternativeName)
    if names is None:
        return ()
    return (
        *names.get_values_for_type(x509.DNSName),
        *(str(address) for address in names.get_values_for_type(x509.IPAddress)),
    )


def caller_names_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """Those that a caller is known by: DNS names and URIs. A common name is none."""
    names = extension_of(certificate, x509.SubjectAlternativeName)
    if names is None:
        return ()
    return (
        *names.get_values_for_type(x509.DNSName),
        *names.get_values_for_type(x509.UniformResourceIdentifier),
    )


def unusable_key_of(certificate: x509.Certificate) -> str | None:
    """Why gRPC makes no connection with its key, and which to make instead; None if it does.

    OpenSSL takes more kinds of keys, and so does whatever checks files with it.
    """
    kind = _key_that_grpc_lacks(certificate)
    if kind is None:
        return None
    return f"its key is {kind}: {_KEYS_OF_GRPC}, so make a key of these and have it certified"


def _key_that_grpc_lacks(certificate: x509.Certificate) -> str | None:
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return "of an unknown kind"
    if isinstance(key, rsa.RSAPublicKey):
        if certificate.public_key_algorithm_oid != PublicKeyAlgorithmOID.RSAES_PKCS1_v1_5:
            return "for RSASSA-PSS alone"
        return None if key.key_size >= LEAST_RSA_BITS else f"RSA of {key.key_size} bits"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return None if isinstance(key.curve, _CURVES) else f"on the curve {key.curve.name}"
    return type(key).__name__.removesuffix("PublicKey")
