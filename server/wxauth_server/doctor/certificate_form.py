"""What a certificate is made for, read from the certificate itself."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, rsa
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from wxauth_client.file_watch import FileUnusable
from wxauth_client.guarded_file import read_guarded_file
from wxauth_server.certificate_reading import (
    LEAST_RSA_BITS,
    NO_CERTIFICATE,
    extension_of,
    has_readable_extensions,
    unusable_key_of,
)


def load_chain(file: Path) -> list[x509.Certificate]:
    """The certificates of a file, in its order; none where it cannot be read."""
    try:
        content, _ = read_guarded_file(file)
        return x509.load_pem_x509_certificates(content)
    except (FileUnusable, *NO_CERTIFICATE):
        return []


def wrong_with(chain: list[x509.Certificate], *, is_server: bool, over_grpc: bool) -> Iterator[str]:
    """What nobody accepts a chain with, its first certificate being the service's own."""
    leaf = chain[0]
    if over_grpc and (why_not := unusable_key_of(leaf)):
        yield why_not
    names = extension_of(leaf, x509.SubjectAlternativeName)
    if names is None and has_readable_extensions(leaf):
        yield "it has no subject alternative names, and the common name is not looked at"
    if is_authority(leaf):
        yield "it is the certificate of an authority, not of a service"
    uses = extension_of(leaf, x509.ExtendedKeyUsage)
    needed = ExtendedKeyUsageOID.SERVER_AUTH if is_server else ExtendedKeyUsageOID.CLIENT_AUTH
    if uses is not None and not {
        needed,
        ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
    } & set(uses):
        side = "servers (serverAuth)" if is_server else "clients (clientAuth)"
        yield f"its extended key usage is not that of {side}"
    usage = extension_of(leaf, x509.KeyUsage)
    if usage is not None and not usage.digital_signature:
        yield "its key usage lacks digitalSignature, which TLS 1.3 needs"
    for certificate in chain:
        yield from _weakness(certificate, key_is_told=over_grpc and certificate is leaf)


def _weakness(certificate: x509.Certificate, *, key_is_told: bool) -> Iterator[str]:
    try:
        key, algorithm = certificate.public_key(), certificate.signature_hash_algorithm
    except (ValueError, UnsupportedAlgorithm):
        yield "its kind of key or signature is none of those that TLS uses"
        return
    if isinstance(key, (rsa.RSAPublicKey, dsa.DSAPublicKey)) and not key_is_told:
        bits = key.key_size
        if bits < LEAST_RSA_BITS:
            yield f"a key of {bits} bits is too short; {LEAST_RSA_BITS} are the least"
    # NIST SP 800-131A revision 2. Nobody verifies what a root says of itself.
    if isinstance(algorithm, (hashes.SHA1, hashes.MD5)) and not _is_self_issued(certificate):
        yield f"its signature uses {algorithm.name.upper()}, which nobody accepts any more"


def odd_about(
    chain: list[x509.Certificate], known: Collection[x509.Name]
) -> Iterator[tuple[str, str]]:
    """What somebody refuses a chain with, and what to do; `known` are trusted authorities."""
    leaf, *rest = chain
    if not has_readable_extensions(leaf):
        yield (
            "its extensions cannot be read here: no caller has its names",
            "ask the authority for one with DNS names, IP addresses and URIs only",
        )
    if _is_self_issued(leaf) and not is_authority(leaf):
        yield (
            "it is self-signed: whoever connects has to have this very file",
            "let an authority of yours issue one",
        )
    for issued, issuer in zip(chain, rest, strict=False):
        if issued.issuer != issuer.subject:
            yield (
                "its certificates are not in the order of the chain",
                "put the service's own certificate first, then each one's issuer after it",
            )
            return
    if not rest and _names_an_issuer(leaf) and leaf.issuer not in known:
        yield (
            "the certificate of its issuer is missing, and few clients fetch it by themselves",
            "append the intermediate certificates; authorities hand out a file with the full chain",
        )


def _names_an_issuer(certificate: x509.Certificate) -> bool:
    """Whether it says where its issuer's certificate can be had: roots need no such place."""
    access = extension_of(certificate, x509.AuthorityInformationAccess)
    return access is not None and any(
        one.access_method == AuthorityInformationAccessOID.CA_ISSUERS for one in access
    )


def is_authority(certificate: x509.Certificate) -> bool:
    """Whether it may issue others."""
    constraints = extension_of(certificate, x509.BasicConstraints)
    return constraints is not None and constraints.ca


def _is_self_issued(certificate: x509.Certificate) -> bool:
    return certificate.issuer == certificate.subject
