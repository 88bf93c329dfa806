"""Why no server was reached, in words that say what to do. From the texts of gRPC 1.85."""

from __future__ import annotations

import re

from wxauth_client.certificates import Certificates

_NO_AUTHORITY = "the server's certificate comes from no authority in ca_file"
_UNUSABLE_KEY = (
    "gRPC does not use the key of this client's certificate: make one of RSA with 2048 bits or "
    "more, or of ECDSA on P-256 or P-384"
)

# Part of gRPC's text -> what it means; the first that is found.
_MEANINGS = {
    "Hostname Verification Check failed": (
        "the server's certificate is for another name: connect to a name that it has, "
        "or give that name as server_name"
    ),
    "CERTIFICATE_VERIFY_FAILED: certificate has expired": (
        "the server's certificate has expired, or an authority's of it"
    ),
    "CERTIFICATE_VERIFY_FAILED: certificate is not yet valid": (
        "the server's certificate is not valid yet, or the clock of this machine is wrong"
    ),
    "CERTIFICATE_VERIFY_FAILED: unable to": _NO_AUTHORITY,
    "CERTIFICATE_VERIFY_FAILED: self signed": _NO_AUTHORITY,
    "CERTIFICATE_VERIFY_FAILED": "the server's certificate was not accepted",
    "NO_COMMON_SIGNATURE_ALGORITHMS": _UNUSABLE_KEY,
    "Failed to create security handshaker": _UNUSABLE_KEY,
    "WRONG_VERSION_NUMBER": "a server without TLS listens there, or none of gRPC",
    "Tls handshake failed": "the TLS handshake failed",
}

# A connection that was taken and closed before anything was answered.
_HUNG_UP = re.compile(
    r"backends failing; last error: .*(Socket closed|Connection reset by peer|Broken pipe)",
    re.DOTALL,
)


def meaning_of(details: str, certificates: Certificates | None) -> str:
    """What a failure of gRPC's means to a client that connected with these; "" if unknown.

    A server that does not like the client says nothing, it hangs up: of that only
    what may be the reason can be said.
    """
    for part, meaning in _MEANINGS.items():
        if part in details:
            return meaning
    if not _HUNG_UP.search(details):
        return ""
    if certificates is None:
        return "the server hung up at once: if it speaks TLS, give ca_file"
    if certificates.certificate is None:
        return (
            "the server hung up after the TLS handshake: if it asks for certificates, "
            "give certificate_file and key_file"
        )
    return (
        "the server hung up after the TLS handshake: it may not accept this client's "
        "certificate, because that has expired or comes from another authority"
    )
