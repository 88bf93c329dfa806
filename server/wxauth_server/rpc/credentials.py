"""The server's side of TLS: its certificate, and whose certificates it asks clients for."""

from __future__ import annotations

import grpc

from wxauth_client.certificates import Certificates
from wxauth_client.file_watch import FileWatch


def server_credentials(watch: FileWatch[Certificates]) -> grpc.ServerCredentials:
    """Credentials that follow the files: each handshake has the certificate of its moment.

    With authorities for clients every client has to have a certificate of one of
    them (mTLS); Python's gRPC cannot ask for one and do without. Whether it asks is
    settled at the start. TLS 1.2 and 1.3, as gRPC has it. gRPC asks for the new ones
    in one handshake at a time, and forgets its sessions with them, so that none of
    the old certificates is resumed.
    """
    used = watch.value

    def exchanged() -> grpc.ServerCertificateConfiguration | None:
        nonlocal used
        now = watch.value
        if now is used:
            return None  # as it is, says gRPC's documentation
        configuration = _configuration(now)
        used = now
        return configuration

    return grpc.dynamic_ssl_server_credentials(
        _configuration(used),
        exchanged,  # type: ignore[arg-type]
        used.authorities is not None,
    )


def _configuration(certificates: Certificates) -> grpc.ServerCertificateConfiguration:
    if certificates.key is None or certificates.certificate is None:
        raise ValueError("a server has a certificate")
    return grpc.ssl_server_certificate_configuration(
        [(certificates.key, certificates.certificate)],
        root_certificates=certificates.authorities,
    )
