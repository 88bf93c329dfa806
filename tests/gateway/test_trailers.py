"""Trailers of chunked bodies: never headers, never many."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

import pytest

from tests.gateway.conftest import Running
from tests.gateway.held_connections import connected
from tests.gateway.running import running_gateways
from tests.gateway.scripted_services import ScriptedWeChatServer
from tests.gateway.tls_clients import Address
from wxauth_gateway import edge, http_server
from wxauth_gateway.settings import GatewaySettings

BODY = b'{"code": "c"}'
HEAD = (
    b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    b"X-Forwarded-For: 198.51.100.7\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
)


@pytest.fixture
def behind_a_proxy(running: Running, server_loop: asyncio.AbstractEventLoop) -> Iterator[Address]:
    settings = GatewaySettings(server=running.server.address, trusted_hops=1)
    with running_gateways([settings], server_loop) as [address]:
        yield address


def exchange(address: Address, *sent: bytes) -> bytes:
    """Send, then read until the gateway hangs up; it may do so before all is sent."""
    received = b""
    with connected(address) as connection:
        with contextlib.suppress(ConnectionError):
            for piece in sent:
                connection.sendall(piece)
        with contextlib.suppress(ConnectionError):
            while piece := connection.recv(65_536):
                received += piece
    return received


@pytest.mark.parametrize(
    "trailer",
    [b"X-Forwarded-For: 203.0.113.66", b"Content-Type: text/plain", b"Content-Encoding: gzip"],
)
@pytest.mark.parametrize("apart", [False, True], ids=["at once", "later"])
def test_a_trailer_is_no_header(
    behind_a_proxy: Address, server: ScriptedWeChatServer, trailer: bytes, apart: bool
) -> None:
    begin, end = HEAD + b"d\r\n" + BODY + b"\r\n", b"0\r\n" + trailer + b"\r\n\r\n"
    received = exchange(behind_a_proxy, *((begin, end) if apart else (begin + end,)))
    assert received.startswith(b"HTTP/1.1 200 ")
    assert [asked.client.address for asked in server.requests("Login")] == ["198.51.100.7"]


@pytest.mark.parametrize(
    ("begin", "piece"),
    [
        (b"0\r\n", b"a:b\r\n" * 8_192),
        (b"0\r\n", b"a" * 40_960),
        (b"0\r\na: ", b"b" * 40_960),
        (b"d;", b"x" * 40_960),
        (b"", b"1\r\n \r\n" * 1_024),
    ],
    ids=["trailers", "endless name", "endless value", "chunk extension", "chunks of one byte"],
)
def test_what_is_no_body_does_not_go_on_for_ever(
    running: Running, monkeypatch: pytest.MonkeyPatch, begin: bytes, piece: bytes
) -> None:
    """Without its bound it would be read for as long as a body may take, and answered 408."""
    monkeypatch.setattr(edge, "BODY_READ_TIMEOUT_S", 1.0)
    monkeypatch.setattr(edge, "MAX_BODY_BYTES", 10_000_000)
    received = exchange(running.address, HEAD + begin, *[piece] * 100)
    # Hanging up on bytes that were not read may take the answer away.
    assert received == b"" or received.startswith(b"HTTP/1.1 413 ")


def test_a_long_body_in_small_chunks(running: Running, server: ScriptedWeChatServer) -> None:
    body = BODY + b" " * (edge.MAX_BODY_BYTES - len(BODY))
    chunks = b"".join(b"20\r\n" + body[at : at + 32] + b"\r\n" for at in range(0, len(body), 32))
    assert len(chunks) - len(body) < http_server.MAX_FRAMING_BYTES
    middle = len(chunks) // 2
    sent = chunks[:middle], chunks[middle:] + b"0\r\nDigest: x\r\n\r\n"
    assert exchange(running.address, HEAD, *sent).startswith(b"HTTP/1.1 200 ")
    assert len(server.requests("Login")) == 1
