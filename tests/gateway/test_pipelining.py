"""Requests that a client sends before it has the answers to those before."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import pytest

from tests.gateway.conftest import Running
from tests.gateway.held_connections import PATIENCE_S, connected, ended
from tests.scripted_server import ScriptedServer
from wxauth.v1 import auth_service_pb2 as pb
from wxauth_gateway.http_server import MAX_PIPELINED

LOGOUT = (
    b"POST /logout HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer wxs_a\r\nContent-Length: 0\r\n\r\n"
)
GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = GET.replace(b"Host: x", b"Host: x\r\nConnection: close")


@pytest.fixture
def go_on(server: ScriptedServer) -> Iterator[threading.Event]:
    """No logout is answered before."""
    event = threading.Event()

    arrived = threading.Event()

    def slow(_request: object, _context: object) -> pb.LogoutResponse:
        arrived.set()
        assert event.wait(PATIENCE_S)
        return pb.LogoutResponse()

    server.answers["Logout"] = slow
    yield event
    # Also when its client has gone: it must not arrive in the next test.
    assert arrived.wait(PATIENCE_S)
    event.set()


def test_as_many_as_may_wait_are_answered(running: Running, go_on: threading.Event) -> None:
    with connected(running.address) as connection:
        connection.sendall(LOGOUT + GET * (MAX_PIPELINED - 1) + LAST)
        go_on.set()
        received = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert received.count(b"HTTP/1.1 200 ") == 1 + MAX_PIPELINED


def test_one_more_ends_the_connection(running: Running, go_on: threading.Event) -> None:
    with connected(running.address) as connection:
        connection.settimeout(PATIENCE_S / 5)
        connection.sendall(LOGOUT + GET * (MAX_PIPELINED + 1))
        assert ended(connection)
        assert not go_on.is_set()
    with connected(running.address) as another:
        another.sendall(LAST)
        assert another.recv(65_536).startswith(b"HTTP/1.1 200 ")


def test_thousands_at_once_are_not_parsed(
    running: Running, go_on: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    """The parser stops in the middle of what it was given."""
    with connected(running.address) as connection:
        connection.settimeout(PATIENCE_S / 5)
        connection.sendall(LOGOUT + GET * 2_000)
        assert ended(connection)
    assert sum(message.startswith("Invalid HTTP") for message in caplog.messages) == 1


def test_an_endless_body_behind_another_request_is_not_answered_in_its_place(
    running: Running, go_on: threading.Event
) -> None:
    endless = b"POST /login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
    received = b""
    with connected(running.address) as connection:
        connection.settimeout(PATIENCE_S / 5)
        connection.sendall(LOGOUT + endless)
        with contextlib.suppress(ConnectionError):
            for _ in range(100):
                connection.sendall(b"a:b\r\n" * 8_192)
        with contextlib.suppress(ConnectionError):
            received = connection.recv(65_536)
    assert received == b""
    assert not go_on.is_set()
