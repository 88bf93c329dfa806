"""Many clients: how many connections there may be, and who makes room for whom."""

from __future__ import annotations

import asyncio
import resource
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest

from tests.certificates import Authority
from tests.gateway.conftest import Running
from tests.gateway.held_connections import (
    GET,
    PATIENCE_S,
    answer,
    connected,
    ended,
    spoken_to,
    tls_connected,
)
from tests.gateway.running import running_gateways
from tests.gateway.tls_clients import NAME, Address, Serving, trusting
from tests.scripted_server import ScriptedServer, say
from wxauth.v1 import auth_service_pb2 as pb
from wxauth_gateway import http_server, listening
from wxauth_gateway.settings import GatewaySettings

LOGOUT = (
    b"POST /logout HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer wxs_a\r\nContent-Length: 0\r\n\r\n"
)


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


def test_who_has_an_answer_to_read_is_not_idle(
    running: Running, server_loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "MAX_CONNECTIONS", 1)
    settings = GatewaySettings(server=running.server.address)
    description = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"
    with (
        running_gateways([settings], server_loop, send_buffer=4_096) as [address],
        socket.socket() as first,
    ):
        first.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        first.settimeout(PATIENCE_S)
        first.connect(address)
        first.sendall(description)
        head = first.recv(2_048).partition(b"\r\n\r\n")
        with connected(address) as second:
            assert ended(second)
        [length] = [line for line in head[0].split(b"\r\n") if line.startswith(b"content-length")]
        left = int(length.split()[1]) - len(head[2])
        while left:
            piece = first.recv(65_536)
            assert piece
            left -= len(piece)


@contextmanager
def busy_connections(server: ScriptedServer) -> Iterator[Callable[[socket.socket], None]]:
    """Makes a connection wait for the answer to a logout, until the block ends."""
    go_on = threading.Event()
    arrived = threading.Semaphore(0)

    def slow(_request: object, _context: object) -> pb.LogoutResponse:
        arrived.release()
        assert go_on.wait(PATIENCE_S)
        return pb.LogoutResponse()

    def make_busy(connection: socket.socket) -> None:
        connection.sendall(LOGOUT)
        assert arrived.acquire(timeout=PATIENCE_S)

    server.answers["Logout"] = slow
    try:
        yield make_busy
    finally:
        go_on.set()


def test_above_the_number_of_busy_ones_a_connection_is_closed(
    three: Address, server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    with ExitStack() as stack:
        busy = [stack.enter_context(connected(three)) for _ in range(3)]
        with busy_connections(server) as make_busy:
            for connection in busy:
                make_busy(connection)
            for _ in range(5):
                refused = stack.enter_context(connected(three))
                assert ended(refused)
        for connection in busy:
            assert answer(connection).startswith(b"HTTP/1.1 200 ")
        server.answers["Logout"] = say(pb.LogoutResponse())
        fourth = stack.enter_context(connected(three))
        fourth.sendall(LOGOUT)
        assert answer(fourth).startswith(b"HTTP/1.1 200 ")
    told = [message for message in caplog.messages if "connections are open" in message]
    assert told == ["3 connections are open and busy: new ones are closed. Told once a minute."]


@pytest.fixture
def four(
    authority: Authority, serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Address]:
    """A gateway with HTTPS and four places: for three connections and one handshake at least."""
    monkeypatch.setattr(listening, "MAX_CONNECTIONS", 4)
    with serving(authority.issue("gw", "127.0.0.1")) as address:
        yield address


def test_who_makes_room_is_gone_at_once(four: Address, authority: Authority) -> None:
    """With TLS too, where whoever is hung up on might keep the connection for a while."""
    with ExitStack() as stack:
        clients = [stack.enter_context(tls_connected(four, authority))]
        for _ in range(6):
            clients[-1].sendall(GET)
            assert answer(clients[-1])
            clients.append(stack.enter_context(tls_connected(four, authority)))
        clients[-1].sendall(GET)
        assert answer(clients[-1])
        for client in clients[:4]:
            client.settimeout(listening.TLS_SHUTDOWN_TIMEOUT_S / 5)
            assert ended(client)
        for client in clients[4:]:
            client.sendall(GET)
            assert answer(client)


def test_silent_handshakes_make_room_for_each_other_only(
    four: Address, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    with ExitStack() as stack:
        idle = [stack.enter_context(tls_connected(four, authority)) for _ in range(2)]
        for connection in idle:
            connection.sendall(GET)
            assert answer(connection)
        silent = [stack.enter_context(connected(four)) for _ in range(12)]
        idle.append(stack.enter_context(tls_connected(four, authority)))
        idle[-1].sendall(GET)
        for connection in idle[:2]:
            connection.sendall(GET)
        assert all(answer(connection) for connection in idle)
        assert all(ended(connection) for connection in silent[:11])
        assert not spoken_to(silent[11])
    told = [message for message in caplog.messages if "handshakes" in message]
    assert told == [
        "2 TLS handshakes are under way: a new one ends the oldest. Told once a minute."
    ]


def test_a_handshake_that_ends_when_all_places_are_taken(
    four: Address, authority: Authority, server: ScriptedServer
) -> None:
    """It began when there was one: nobody else's is taken from those that are busy."""
    with ExitStack() as stack, busy_connections(server) as make_busy:
        for _ in range(2):
            make_busy(stack.enter_context(tls_connected(four, authority)))
        opening = [stack.enter_context(connected(four)) for _ in range(2)]
        context = trusting(authority)
        first, second = (
            stack.enter_context(
                context.wrap_socket(each, server_hostname=NAME, do_handshake_on_connect=False)
            )
            for each in opening
        )
        first.do_handshake()
        make_busy(first)
        second.settimeout(http_server.HEAD_READ_TIMEOUT_S / 5)
        with suppress(OSError):  # the client's part may be done before it is ended
            second.do_handshake()
        assert ended(second)


def test_there_are_descriptors_left_for_everything_else(monkeypatch: pytest.MonkeyPatch) -> None:
    for descriptors, expected in ((1_024, 896), (100, 1), (20_000, 2_000), (-1, 2_000)):
        monkeypatch.setattr(resource, "getrlimit", lambda _which, soft=descriptors: (soft, soft))
        assert listening._max_connections() == expected
