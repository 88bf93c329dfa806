"""Clients that hold connections: each is cut off, and there is a number of them."""

from __future__ import annotations

import asyncio
import logging
import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.certificates import Authority
from tests.gateway.conftest import Running
from tests.gateway.running import running_gateways, wait_for
from tests.gateway.tls_clients import Address, Serving
from tests.scripted_server import ScriptedServer, say
from wxauth.v1 import auth_service_pb2 as pb
from wxauth_gateway import edge, http_server, listening
from wxauth_gateway.settings import GatewaySettings

PATIENCE_S = 10.0
SHORT_S = 0.1
GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
ASSET = b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n"


def connected(address: Address) -> socket.socket:
    return socket.create_connection(address, timeout=PATIENCE_S)


def ended(connection: socket.socket) -> bool:
    """Whether the gateway hangs up within PATIENCE_S; reads away what it says before."""
    try:
        while connection.recv(65_536):
            pass
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False
    return True


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
    https: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "TLS_HANDSHAKE_TIMEOUT_S", 1.0)
    with ExitStack() as stack:
        began = time.monotonic()
        silent = [stack.enter_context(connected(https)) for _ in range(300)]
        assert all(ended(connection) for connection in silent)
        assert time.monotonic() - began >= 1.0


@pytest.mark.parametrize("filler", [b"\r\n", b"\n\n\n"])
def test_line_ends_between_requests_do_not_keep_a_connection(
    running: Running, monkeypatch: pytest.MonkeyPatch, filler: bytes
) -> None:
    """uvicorn stops its timer of idle connections for them, and the parser ignores them."""
    monkeypatch.setattr(http_server, "HEAD_READ_TIMEOUT_S", SHORT_S)
    with connected(running.address) as connection:
        connection.sendall(GET)
        assert answer(connection)
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


@pytest.mark.parametrize("requests", [1, 40], ids=["one answer", "answers in a row"])
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
    """Each of the pieces comes in time; all of it takes much longer than SEND_TIMEOUT_S."""
    monkeypatch.setattr(http_server, "SEND_TIMEOUT_S", 0.25)
    began = time.monotonic()
    small.sendall(ASSET.replace(b"Host: x", b"Host: x\r\nConnection: close"))
    received = 0
    while piece := small.recv(16_384):
        received += len(piece)
        threading.Event().wait(0.002)  # the slow client, not a way to wait for anything
    assert time.monotonic() - began > 0.5
    assert received > 1_000_000


@pytest.fixture
def three(
    running: Running, server_loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Address]:
    """A gateway that takes three connections."""
    monkeypatch.setattr(listening, "MAX_CONNECTIONS", 3)
    settings = GatewaySettings(server=running.server.address)
    with running_gateways([settings], server_loop) as [address]:
        yield address


def test_the_longest_idle_one_makes_room(three: Address) -> None:
    with ExitStack() as stack:
        first, second, third = (stack.enter_context(connected(three)) for _ in range(3))
        for connection in (first, second, third, first):
            connection.sendall(GET)
            assert answer(connection)
        fourth = stack.enter_context(connected(three))
        fourth.sendall(GET)
        assert answer(fourth)
        assert ended(second)
        for connection in (first, third):
            connection.sendall(GET)
            assert answer(connection)


def test_above_the_number_of_busy_ones_a_connection_is_closed(
    three: Address, server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    go_on = threading.Event()
    arrived = threading.Semaphore(0)

    def slow(_request: object, _context: object) -> pb.LogoutResponse:
        arrived.release()
        assert go_on.wait(PATIENCE_S)
        return pb.LogoutResponse()

    server.answers["Logout"] = slow
    request = (
        b"POST /logout HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer wxs_a\r\n"
        b"Content-Length: 0\r\n\r\n"
    )
    with ExitStack() as stack:
        stack.callback(go_on.set)
        busy = [stack.enter_context(connected(three)) for _ in range(3)]
        for connection in busy:
            connection.sendall(request)
            assert arrived.acquire(timeout=PATIENCE_S)
        for _ in range(5):
            refused = stack.enter_context(connected(three))
            assert ended(refused)
        go_on.set()
        for connection in busy:
            assert answer(connection).startswith(b"HTTP/1.1 200 ")
        server.answers["Logout"] = say(pb.LogoutResponse())
        fourth = stack.enter_context(connected(three))
        fourth.sendall(request)
        assert answer(fourth).startswith(b"HTTP/1.1 200 ")
    told = [message for message in caplog.messages if "connections are open" in message]
    assert told == ["3 connections are open and busy: new ones are closed. Told once a minute."]


def test_handshakes_count_as_connections(
    authority: Authority, serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "MAX_CONNECTIONS", 3)
    issued = authority.issue("gw", "127.0.0.1")
    with serving(issued) as address, ExitStack() as stack:
        silent = [stack.enter_context(connected(address)) for _ in range(3)]
        assert ended(stack.enter_context(connected(address)))
        for connection in silent:
            connection.setblocking(False)
            with pytest.raises(BlockingIOError):  # open still, and nothing said
                connection.recv(1)


def test_there_are_descriptors_left_for_everything_else(monkeypatch: pytest.MonkeyPatch) -> None:
    for descriptors, expected in ((1_024, 896), (100, 1), (20_000, 2_000), (-1, 2_000)):
        monkeypatch.setattr(resource, "getrlimit", lambda _which, soft=descriptors: (soft, soft))
        assert listening._max_connections() == expected
