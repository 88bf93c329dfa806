"""What a proper HTTP client cannot send: smuggling, garbage, endless and unfinished heads."""

from __future__ import annotations

import socket

import pytest

from tests.gateway.conftest import Running
from tests.scripted_server import ScriptedServer
from wxauth_gateway import edge, http_server

BODY = b'{"code": "c"}'


def exchange(address: tuple[str, int], *sent: bytes) -> bytes:
    """Send, then read until the gateway hangs up."""
    with socket.create_connection(address, timeout=10) as connection:
        for piece in sent:
            connection.sendall(piece)
        received = b""
        while piece := connection.recv(65_536):
            received += piece
        return received


def post(*headers: bytes, body: bytes = BODY) -> bytes:
    lines = (b"POST /login HTTP/1.1", b"Host: x", b"Content-Type: application/json", *headers)
    return b"\r\n".join((*lines, b"", body))


CHUNKED = b"d\r\n" + BODY + b"\r\n0\r\n\r\n"

REFUSED: dict[str, bytes] = {
    "CL and TE": post(b"Content-Length: 13", b"Transfer-Encoding: chunked", body=CHUNKED),
    "TE and CL": post(b"Transfer-Encoding: chunked", b"Content-Length: 13", body=CHUNKED),
    "two CL": post(b"Content-Length: 13", b"Content-Length: 14"),
    "two equal CL": post(b"Content-Length: 13", b"Content-Length: 13"),
    "CL list": post(b"Content-Length: 13, 13"),
    "CL with a sign": post(b"Content-Length: +13"),
    "CL negative": post(b"Content-Length: -1"),
    "CL hexadecimal": post(b"Content-Length: 0xd"),
    "TE twisted": post(b"Transfer-Encoding: xchunked", body=CHUNKED),
    "TE then more": post(b"Transfer-Encoding: chunked, identity", body=CHUNKED),
    "space before the colon": post(b"Content-Length : 13"),
    "folded header": post(b"X: a", b" b", b"Content-Length: 13"),
    "NUL in a header": post(b"X: a\0b", b"Content-Length: 13"),
    "chunk size twisted": post(b"Transfer-Encoding: chunked", body=b"xd\r\n" + BODY + b"\r\n"),
    "not HTTP": b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
    "HTTP/2 without upgrade": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "path not ASCII": b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("sent", REFUSED.values(), ids=REFUSED)
def test_garbage_is_refused_once_and_the_connection_ends(
    running: Running, server: ScriptedServer, sent: bytes
) -> None:
    received = exchange(running.address, sent)
    assert received.count(b"HTTP/1.1 ") == 1
    assert received.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"cache-control: no-store\r\n" in received
    assert b"x-content-type-options: nosniff\r\n" in received
    assert b"server:" not in received
    assert b'"reason": "REQUEST_INVALID"' in received
    assert server.asked == []


def test_what_was_not_read_is_never_the_next_request(
    running: Running, server: ScriptedServer
) -> None:
    inner = post(b"Content-Length: 13")
    received = exchange(
        running.address,
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(inner) + inner,
    )
    assert received.startswith(b"HTTP/1.1 400 ")
    assert received.count(b"HTTP/1.1 ") == 1
    assert server.asked == []


def test_an_announced_giant_is_refused_before_it_comes(running: Running) -> None:
    received = exchange(running.address, post(b"Content-Length: 10000000000", body=b"{"))
    assert received.startswith(b"HTTP/1.1 413 ")


def test_endless_chunks_are_refused(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge, "DRAIN_TIMEOUT_S", 0.05)
    chunk = b"1000\r\n" + b" " * 0x1000 + b"\r\n"
    received = exchange(running.address, post(b"Transfer-Encoding: chunked", body=chunk * 3))
    assert received.startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /healthz HTTP/1.1\r\nX: " + b"a" * 8_300,
        b"GET /healthz HTTP/1.1\r\n" + b"X: a\r\n" * 2_000,
        b"GET /" + b"a" * 8_300,
        b"GET /healthz HTTP/1.1\r\nX: " + b"a" * 8_300 + b"\r\n\r\n",
        b"GET /healthz?" + b"a" * 8_300 + b" HTTP/1.1\r\n\r\n",
    ],
    ids=["long line", "many lines", "long path", "complete", "complete query"],
)
def test_a_head_over_8_kib(running: Running, sent: bytes) -> None:
    received = exchange(running.address, sent)
    assert received.startswith(b"HTTP/1.1 431 ")
    assert b"cache-control: no-store\r\n" in received


@pytest.mark.parametrize("sent", [b"", b"GET /healthz HTTP/1.1\r\nX: a"], ids=["silent", "half"])
def test_a_head_that_does_not_come(
    running: Running, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(http_server, "HEAD_READ_TIMEOUT_S", 0.05)
    assert exchange(running.address, sent) == b""


def test_a_body_that_does_not_come(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge, "BODY_READ_TIMEOUT_S", 0.05)
    received = exchange(running.address, post(b"Content-Length: 13", body=b"{"))
    assert received.startswith(b"HTTP/1.1 408 ")


def test_requests_in_a_row_on_one_connection(running: Running, server: ScriptedServer) -> None:
    last = post(b"Content-Length: 13", b"Connection: close")
    received = exchange(running.address, post(b"Content-Length: 13") * 2 + last)
    assert received.count(b"HTTP/1.1 200 OK") == 3
    assert len(server.requests("Login")) == 3
