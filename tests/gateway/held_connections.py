"""Connections that a test holds open, and what the gateway says on them."""

from __future__ import annotations

import select
import socket
import ssl

from tests.certificates import Authority
from tests.gateway.tls_clients import NAME, Address, trusting

PATIENCE_S = 10.0
GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


def connected(address: Address) -> socket.socket:
    return socket.create_connection(address, timeout=PATIENCE_S)


def tls_connected(address: Address, authority: Authority) -> ssl.SSLSocket:
    return trusting(authority).wrap_socket(connected(address), server_hostname=NAME)


def ended(connection: socket.socket) -> bool:
    """Whether the gateway hangs up within the timeout; reads away what it says before.

    Of TLS too it is the connection, not the goodbye that may come long before its end.
    """
    try:
        while socket.socket.recv(connection, 65_536):
            pass
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False
    return True


def spoken_to(connection: socket.socket) -> bool:
    """Whether the gateway has said something by now, or hung up."""
    return bool(select.select([connection], [], [], 0)[0])


def answer(connection: socket.socket) -> bytes:
    """One answer of /healthz; b"" if the gateway has hung up."""
    received = b""
    while not received.endswith(b"\r\n\r\n{}"):
        try:
            piece = connection.recv(65_536)
        except ConnectionResetError:
            return b""
        if not piece:
            return b""
        received += piece
    return received
