"""What a client's certificate says, once TLS has found it good.

Read from the certificate itself: the names that grpcio hands over end at a NUL,
so that one for "gateway\\0.elsewhere" would pass as the gateway's.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from cryptography import x509

from wxauth_server.certificate_reading import NO_CERTIFICATE, caller_names_of


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    #: DNS names and URIs among the subject alternative names. A common name is none.
    names: tuple[str, ...]
    #: Unix milliseconds; TLS looks at this when a connection begins, and not even
    #: then when an earlier session is resumed.
    ends_ms: float


# By the certificate, not by the connection: 50 us once, then a look-up. A thousand
# take some 3 MB.
@lru_cache(maxsize=1_000)
def read_client_certificate(pem: bytes) -> ClientCertificate:
    """Without a name where the certificate has none, or not in the form of RFC 5280."""
    try:
        certificate = x509.load_pem_x509_certificate(pem)
    except NO_CERTIFICATE:
        return ClientCertificate((), 0)
    ends = certificate.not_valid_after_utc
    return ClientCertificate(caller_names_of(certificate), ends.timestamp() * 1000)
