"""What operators do to the files of a certificate and its key while clients call."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from tests.certificates import Authority, Issued
from tests.fault.steady_load import CALL_TIMEOUT_S, PATIENCE_S, POLL_S, SteadyLoad, until


@dataclass(frozen=True)
class Setting:
    """A server that shows what was issued last to the file `server`, and clients that call it."""

    authority: Authority
    port: int
    load: SteadyLoad
    #: The errors of its log so far.
    errors: Callable[[], list[str]]
    #: What a client shows it, where it asks.
    own: Issued | None = None
    protocol: str = "h2"

    @property
    def served(self) -> Issued:
        files = self.authority.ca
        return Issued(files.with_name("server.pem"), files.with_name("server.key"))

    async def until_served(self) -> None:
        """Wait until what the files hold is served, and every client has called since.

        Or until calls failed: then there may be nothing left to wait for.
        """
        expected = _serial_number(self.served.certificate.read_bytes())
        context = _client_context(self.authority.ca, self.own, self.protocol)
        end = time.monotonic() + PATIENCE_S
        while await asyncio.to_thread(_served_number, self.port, context) != expected:
            assert time.monotonic() < end, f"not served within {PATIENCE_S} s"
            if self.load.failed:
                return
            await asyncio.sleep(POLL_S)
        await self.load.another_call_of_each()

    async def until_refused(self) -> None:
        """Wait until the server has said that it cannot use the files, or calls have failed."""
        before = len(self.errors())
        await until(
            lambda: len(self.errors()) > before or bool(self.load.failed), "an error is logged"
        )
        await self.load.another_call_of_each()


Change = Callable[[Setting], Awaitable[None]]


async def exchange(setting: Setting, times: int) -> None:
    """Replace certificate and key so often, each time once those before are served."""
    for _ in range(times):
        setting.authority.issue("server", "127.0.0.1")
        await setting.until_served()


async def key_first(setting: Setting) -> None:
    """Replace the key; the certificate follows when the server has said that they do not fit."""
    new = setting.authority.issue("server", "127.0.0.1", file="new")
    new.key.replace(setting.served.key)
    await setting.until_refused()
    new.certificate.replace(setting.served.certificate)
    await setting.until_served()


async def certificate_first(setting: Setting) -> None:
    """Replace the certificate; the key follows when the server has said that they do not fit."""
    new = setting.authority.issue("server", "127.0.0.1", file="new")
    new.certificate.replace(setting.served.certificate)
    await setting.until_refused()
    new.key.replace(setting.served.key)
    await setting.until_served()


def _client_context(ca: Path, own: Issued | None, protocol: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca)
    context.set_alpn_protocols([protocol])
    if own is not None:
        context.load_cert_chain(own.certificate, own.key)
    return context


def _served_number(port: int, context: ssl.SSLContext) -> int | None:
    """Of the certificate that a new connection is shown; None where there is no connection."""
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=CALL_TIMEOUT_S) as connection,
            context.wrap_socket(connection, server_hostname="127.0.0.1") as shown,
        ):
            certificate = shown.getpeercert(binary_form=True)
    except OSError:
        return None
    assert certificate is not None
    return x509.load_der_x509_certificate(certificate).serial_number


def _serial_number(certificate: bytes) -> int:
    return x509.load_pem_x509_certificate(certificate).serial_number
