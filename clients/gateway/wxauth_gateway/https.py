"""TLS of the gateway: each handshake has the certificate that the files hold at its moment."""

from __future__ import annotations

import logging
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import uvicorn

from wxauth_client.certificates import Certificates, ServerTls, read_certificates
from wxauth_client.file_watch import FileUnusable, FileWatch
from wxauth_client.server_certificate import EndOfCertificate, load_server_certificate

logger = logging.getLogger("wxauth.gateway")

#: Of TLS 1.2, which clients of WeChat's older phones speak: forward secrecy and
#: authenticated encryption only. Those of TLS 1.3 all have both.
CIPHERS_OF_TLS_1_2 = "ECDHE+AESGCM:ECDHE+CHACHA20"


class Https:
    """The TLS of one gateway, for uvicorn's `ssl_context_factory` and `callback_notify`."""

    def __init__(self, tls: ServerTls) -> None:
        self._tls = tls
        self._context: FollowingContext | None = None
        self._look: threading.Thread | None = None
        self._fault = ""
        self._end = EndOfCertificate("certificate of the gateway")

    def context(self, _config: uvicorn.Config, _default: Callable[[], Any]) -> ssl.SSLContext:
        """Raises: FileUnusable."""
        self._context = FollowingContext(self._tls)
        return self._context

    async def refresh(self) -> None:
        """Have the files looked at, unless that is still under way. Raises nothing.

        They may be on a disk that hangs: nobody waits for it, not even the end of
        the process, as it would for a thread of asyncio's.
        """
        if self._context is None or (self._look is not None and self._look.is_alive()):
            return
        self._look = threading.Thread(
            target=self._refresh, args=(self._context.watch,), name="certificate", daemon=True
        )
        try:
            self._look.start()
        except RuntimeError as error:  # no more threads; is_alive() is false then
            self._tell(error)

    def _refresh(self, watch: FileWatch[_Generation]) -> None:
        try:
            watch.refresh()
            self._end.look(watch.value.certificates.certificate or b"", datetime.now(UTC))
        except Exception as error:  # noqa: BLE001 - a look must not end the looking
            self._tell(error)
        else:
            self._fault = ""

    def _tell(self, error: Exception) -> None:
        """Once: there is a look each second. Not its text, which may quote a file."""
        fault = type(error).__name__
        if fault != self._fault:
            self._fault = fault
            logger.error("the certificate of the gateway cannot be looked at: %s", fault)


@dataclass(frozen=True, slots=True)
class _Generation:
    certificates: Certificates
    context: ssl.SSLContext = field(compare=False)


class FollowingContext(ssl.SSLContext):
    """Hands each handshake to the context of its moment, and has no certificate itself.

    asyncio and uvloop take one context for the life of a server. Loading another
    certificate into it would do, but no authority of clients can be taken out of
    one again. With `client_ca_file` who has no certificate of it gets no answer.
    """

    watch: FileWatch[_Generation]

    def __new__(cls, _tls: ServerTls) -> FollowingContext:
        return super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)

    def __init__(self, tls: ServerTls) -> None:
        """Raises: FileUnusable."""
        named = (tls.certificate_file, tls.key_file, tls.client_ca_file)
        files = [file for file in named if file is not None]
        self.watch = FileWatch("certificate of the gateway", files, lambda: _read(tls))

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        return self.watch.value.context.wrap_bio(*args, **kwargs)


def _read(tls: ServerTls) -> _Generation:
    """Raises: FileUnusable."""
    certificates = _checked(tls)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS_OF_TLS_1_2)
    context.options |= ssl.OP_NO_RENEGOTIATION  # costs us more than the client who asks for it
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(tls.certificate_file, tls.key_file)
    except (ssl.SSLError, OSError):  # it was good a moment ago
        raise _being_replaced(tls) from None
    if certificates.authorities is not None:
        # As it was checked: bundles have names in their comments, in whatever alphabet.
        authorities = certificates.authorities.decode("ascii", errors="ignore")
        context.load_verify_locations(cadata=authorities)
        context.verify_mode = ssl.CERT_REQUIRED
    # ssl reads files only: what it has loaded must be what was checked.
    if _checked(tls) != certificates:
        raise _being_replaced(tls)
    return _Generation(certificates, context)


def _checked(tls: ServerTls) -> Certificates:
    found = read_certificates(
        certificate_file=tls.certificate_file, key_file=tls.key_file, ca_file=tls.client_ca_file
    )
    # OpenSSL takes what has expired; clients do not.
    load_server_certificate(tls.certificate_file, found.certificate or b"")
    return found


def _being_replaced(tls: ServerTls) -> FileUnusable:
    return FileUnusable(f"{tls.certificate_file} and {tls.key_file} are being replaced just now")
