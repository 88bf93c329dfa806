"""Clients that speak TLS with a gateway."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from contextlib import AbstractContextManager

from tests.certificates import Authority, Issued

NAME = "127.0.0.1"
GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
Address = tuple[str, int]
Serving = Callable[..., AbstractContextManager[Address]]


def trusting(authority: Authority, issued: Issued | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authority.ca)
    if issued is not None:
        context.load_cert_chain(issued.certificate, issued.key)
    return context


def exchange(address: Address, context: ssl.SSLContext, sent: bytes = GET) -> bytes:
    with (
        socket.create_connection(address, timeout=10) as plain,
        context.wrap_socket(plain, server_hostname=NAME) as connection,
    ):
        connection.sendall(sent)
        return b"".join(iter(lambda: connection.recv(65_536), b""))


def admitted(address: Address, context: ssl.SSLContext) -> bool:
    try:
        return exchange(address, context).startswith(b"HTTP/1.1 200 ")
    except OSError:
        return False


def shown(address: Address) -> str:
    """The certificate that the gateway shows now."""
    return ssl.get_server_certificate(address, timeout=10)
