"""Clients that send or read too slowly: each is cut off."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.certificates import Authority
from tests.gateway.conftest import Running
from tests.gateway.held_connections import GET, PATIENCE_S, answer, connected, ended, spoken_to
from tests.gateway.running import running_gateways, wait_for
from tests.gateway.tls_clients import Address, Serving, exchange, trusting
from wxauth_gateway import edge, http_server, listening
from wxauth_gateway.settings import GatewaySettings

SHORT_S = 0.1
ASSET = b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
def https(authority: Authority, serving: Serving) -> Iterator[Address]:
    with serving(authority.issue("gw", "127.0.0.1")) as address:
        yield address


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\x02\x00\x01\x00"], ids=["silent", "half"])
def test_a_handshake_that_does_not_come(
    https: Address, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, sent: bytes
) -> None:
    monkeypatch.setattr(listening, "TLS_HANDSHAKE_TIMEOUT_S", SHORT_S)
    with caplog.at_level(logging.INFO), connected(https) as connection:
        connection.sendall(sent)
        assert ended(connection)
        wait_for(lambda: "no TLS handshake: ConnectionAbortedError" in caplog.messages)


def test_300_silent_handshakes_are_all_cut_off_while_others_are_served(
    https: Address, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "TLS_HANDSHAKE_TIMEOUT_S", 3.0)
    with ExitStack() as stack:
        silent = [stack.enter_context(connected(https)) for _ in range(300)]
        assert exchange(https, trusting(authority)).startswith(b"HTTP/1.1 200 ")
        assert not any(spoken_to(connection) for connection in silent)
        assert all(ended(connection) for connection in silent)


@pytest.mark.parametrize("filler", [b"\r\n", b"\n\n\n"])
def test_line_ends_between_requests_do_not_keep_a_connection(
    running: Running, monkeypatch: pytest.MonkeyPatch, filler: bytes
) -> None:
    """uvicorn stops its timer of idle connections for them, and the parser ignores them."""
    with connected(running.address) as connection:
        connection.sendall(GET)
        assert answer(connection)
        # Not before: it bounds the first request too, which a busy machine delays.
        monkeypatch.setattr(http_server, "HEAD_READ_TIMEOUT_S", SHORT_S)
        connection.sendall(filler)
        assert ended(connection)


def test_an_endless_body_of_another_method(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is answered 405 before it ends; what comes after holds no connection."""
    monkeypatch.setattr(edge, "DRAIN_TIMEOUT_S", SHORT_S)
    head = b"PUT /login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"
    with connected(running.address) as connection:
        connection.sendall(head)
        received = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert received.startswith(b"HTTP/1.1 405 ")
    assert b"\r\nconnection: close\r\n" in received.lower()


@pytest.fixture
def small(running: Running, server_loop: asyncio.AbstractEventLoop) -> Iterator[socket.socket]:
    """Talks to a gateway; no buffer of the kernel's between would take a whole answer."""
    settings = GatewaySettings(server=running.server.address)
    with (
        running_gateways([settings], server_loop, send_buffer=4_096) as [address],
        socket.socket() as connection,
    ):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        connection.settimeout(PATIENCE_S)
        connection.connect(address)
        yield connection


@pytest.mark.parametrize("requests", [1, 16], ids=["one answer", "answers in a row"])
def test_who_does_not_read_is_cut_off(
    small: socket.socket, monkeypatch: pytest.MonkeyPatch, requests: int
) -> None:
    monkeypatch.setattr(http_server, "SEND_TIMEOUT_S", SHORT_S)
    lost = threading.Event()
    connection_lost = http_server.BoundedHttp.connection_lost

    def told(self: http_server.BoundedHttp, error: Exception | None) -> None:
        connection_lost(self, error)
        lost.set()

    # The client cannot tell: what it does not read stands before the end.
    monkeypatch.setattr(http_server.BoundedHttp, "connection_lost", told)
    small.sendall(ASSET * requests)
    assert lost.wait(PATIENCE_S)


def test_who_reads_slowly_is_served(small: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of the pieces comes in time; all of it takes longer than SEND_TIMEOUT_S."""
    monkeypatch.setattr(http_server, "SEND_TIMEOUT_S", 2.0)
    longer = threading.Event()
    timer = threading.Timer(1.5 * http_server.SEND_TIMEOUT_S, longer.set)
    small.sendall(ASSET.replace(b"Host: x", b"Host: x\r\nConnection: close"))
    timer.start()
    received = 0
    while not longer.wait(0.2):  # the slow client, ten times as fast as it must be
        goal = received + 49_152
        while received < goal:
            piece = small.recv(goal - received)
            assert piece, "there is more than it reads until then"
            received += len(piece)
    while piece := small.recv(65_536):
        received += len(piece)
    assert received > 1_000_000
