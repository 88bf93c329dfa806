"""What the certificate of a server has to be for clients to accept it.

For those who serve: it needs `cryptography`, which the extra [server] brings and
the client library does without.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from wxauth_client.file_watch import FileUnusable

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

log = logging.getLogger("wxauth.files")

#: How long before its end the log begins to tell of it.
WARNED_BEFORE = timedelta(days=14)
_TOLD_EVERY = timedelta(days=1)


def load_server_certificate(file: Path, pem: bytes) -> Certificate:
    """The first certificate of a file, if there are clients that would accept it now.

    Raises: FileUnusable where it has no end or name that clients could accept: it has
    expired, is not valid yet, or has no subject alternative name (RFC 9525 section 2).
    """
    from cryptography import x509

    try:
        certificate = x509.load_pem_x509_certificate(pem)
    except (ValueError, x509.InvalidVersion):
        raise FileUnusable(f"{file}: its certificate is not in the form of RFC 5280") from None
    now = datetime.now(UTC)
    if now >= certificate.not_valid_after_utc:
        raise FileUnusable(
            f"{file}: the certificate has expired, on {certificate.not_valid_after_utc:%Y-%m-%d}"
        )
    if now < certificate.not_valid_before_utc:
        raise FileUnusable(
            f"{file}: the certificate is not valid before "
            f"{certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC; is the clock right?"
        )
    try:
        certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        raise FileUnusable(
            f"{file}: the certificate has no subject alternative name, and clients look at no "
            "other: have it certified with the names that they connect to"
        ) from None
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        pass  # there are names, of kinds that are read nowhere here
    return certificate


class EndOfCertificate:
    """Tells in the log, once a day, that a certificate in use ends soon or has ended."""

    def __init__(self, subject: str) -> None:
        self._subject = subject
        self._told = datetime.min.replace(tzinfo=UTC)

    def look(self, pem: bytes, now: datetime) -> None:
        """For each look at the files; about 20 us."""
        from cryptography import x509

        end = x509.load_pem_x509_certificate(pem).not_valid_after_utc
        if now < end - WARNED_BEFORE or now < self._told + _TOLD_EVERY:
            return
        self._told = now
        if now < end:
            log.warning("%s: it ends soon", self._subject, extra={"ends": f"{end:%Y-%m-%d %H:%M}Z"})
        else:
            log.error("%s: it has ended, and no client accepts it", self._subject)
