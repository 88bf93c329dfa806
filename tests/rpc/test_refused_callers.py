"""Refused callers in the log: who, where from and what for, in few lines, without a secret."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.canary import CANARY
from tests.certificates import Authority
from tests.rpc import raw_http2
from tests.rpc.known_callers import a_token, bearer, caller
from tests.rpc.tls_server import TlsConnection, TlsServer, tls_server, validate
from tests.running_server import ANYBODY, refused
from wxauth_server.callers.caller import Role
from wxauth_server.errors import AuthError, CallerForbidden, CallerUnauthenticated
from wxauth_server.rpc.peers import peer_address
from wxauth_server.rpc.refused_callers import INTERVAL_S, MOST_APART, RefusedCallers

METHOD = "/wxauth.v1.AuthService/ValidateSession"
TOKEN, ENDED = a_token(), a_token()


@pytest.fixture
def clients(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "clients")


@pytest.fixture
def server(
    tmp_path: Path, clients: Authority, server_loop: asyncio.AbstractEventLoop
) -> Iterator[TlsServer]:
    admin = caller("operator", Role.ADMIN, token=TOKEN)
    ended = caller("orders", Role.SERVICE, token=ENDED, ends_ms=1)
    with tls_server(tmp_path, server_loop, admin, ended, clients=clients) as running:
        yield running


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    names = ("method", "reason", "address", "left_out", "caller", "token", "certificate_names")
    return [
        {name: vars(record)[name] for name in names if name in vars(record)}
        for record in caplog.records
        if record.getMessage() == "a caller was refused"
    ]


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (
            (),
            {"reason": "CALLER_UNAUTHENTICATED", "certificate_names": ("a", "b", "c")},
        ),
        (bearer(a_token()), {"reason": "CALLER_UNAUTHENTICATED"}),
        (bearer(ENDED), {"reason": "CALLER_UNAUTHENTICATED", "caller": "orders", "token": "ended"}),
        (bearer(TOKEN), {"reason": "CALLER_FORBIDDEN", "caller": "operator"}),
        ((("authorization", TOKEN),), {"reason": "CALLER_UNAUTHENTICATED"}),
    ],
    ids=["certificate", "wrong token", "ended token", "another role", "no scheme"],
)
def test_what_is_told(
    server: TlsServer,
    clients: Authority,
    caplog: pytest.LogCaptureFixture,
    sent: tuple[tuple[str, str], ...],
    told: dict[str, object],
) -> None:
    with server.stub(clients.issue("somebody", "a", "b", "c", "d")) as stub:
        refused(lambda: validate(stub, *sent))
    expected = {"method": METHOD, "address": "127.0.0.1", "left_out": 0, **told}
    assert lines(caplog) == [expected]
    assert {r.levelname for r in caplog.records if r.name == "wxauth.rpc"} == {"WARNING"}
    assert not any(token in caplog.text for token in (TOKEN, ENDED))


def test_who_is_let_in_is_not_told(
    server: TlsServer, clients: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    server.set_callers(caller("orders", Role.SERVICE, certificate_names=["orders"]))
    with server.stub(clients.issue("orders")) as stub:
        validate(stub)
    assert lines(caplog) == []


class _Context:
    """As much of a call as the log asks for."""

    def __init__(self, peer: str) -> None:
        self._peer = peer

    def peer(self) -> str:
        return self._peer

    def invocation_metadata(self) -> tuple[()]:
        return ()

    def auth_context(self) -> dict[str, list[bytes]]:
        return {}


class _Flood:
    """Refused callers of many addresses, at a time that the test moves."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.refused = RefusedCallers(ANYBODY, lambda: self.now_s)

    def note(self, peer: str, refusal: AuthError | None = None) -> None:
        context: Any = _Context(peer)
        self.refused.note(METHOD, refusal or CallerUnauthenticated(), context)


def test_a_flood_of_one_address_is_a_line_in_ten_seconds(
    caplog: pytest.LogCaptureFixture,
) -> None:
    flood = _Flood()
    for _ in range(5):
        for port in range(1_000):
            flood.note(f"ipv4:192.0.2.1:{port}")
        flood.now_s += INTERVAL_S
    assert [line["left_out"] for line in lines(caplog)] == [0, 999, 999, 999, 999]
    flood.note("ipv4:192.0.2.1:1", CallerForbidden("orders"))
    flood.note("ipv4:192.0.2.2:1")
    assert [line["left_out"] for line in lines(caplog)[5:]] == [0, 0], "others are told apart"


def test_a_flood_of_many_addresses_is_bounded_too(caplog: pytest.LogCaptureFixture) -> None:
    flood = _Flood()
    for number in range(5_000):
        flood.note(f"ipv4:10.0.{number // 250}.{number % 250}:1")
    assert len(lines(caplog)) == MOST_APART + 1
    flood.now_s += INTERVAL_S
    flood.note("ipv4:192.0.2.1:1")
    assert lines(caplog)[-1] == {
        "method": METHOD,
        "reason": "CALLER_UNAUTHENTICATED",
        "address": "192.0.2.1",
        "left_out": 0,
    }
    assert len(flood.refused._told) <= MOST_APART + 1


def test_one_network_of_ipv6_is_one(caplog: pytest.LogCaptureFixture) -> None:
    flood = _Flood()
    for number in range(100):
        flood.note(f"ipv6:%5B2001:db8::{number:x}%5D:1")
    assert [line["address"] for line in lines(caplog)] == ["2001:db8::"]


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:127.0.0.1:50123", "127.0.0.1"),
        ("ipv6:%5B::1%5D:50123", "::1"),
        ("ipv6:[2001:db8::1]:1", "2001:db8::1"),
        ("ipv6:%5Bfe80::1%25eth0%5D:1", "fe80::1%eth0"),
        ("unix:/run/wxauth.sock", ""),
        ("ipv4:nonsense", ""),
        ("", ""),
    ],
)
def test_addresses_of_peers(peer: str, address: str) -> None:
    assert peer_address(peer) == address


def test_grpcio_writes_no_token_into_the_log(
    server: TlsServer, clients: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    """It would, of its own accord, for a value that is not UTF-8."""
    secret = CANARY.keep("wxc_with-a-slip-behind-it")
    block = b"\x83\x86\x04" + _text(METHOD.encode()) + b"\x01" + _text(b"127.0.0.1")
    for name, value in (
        (b"content-type", b"application/grpc"),
        (b"te", b"trailers"),
        (b"authorization", f"Bearer {secret}".encode() + b"\xff"),
    ):
        block += b"\x00" + _text(name) + _text(value)
    context = server.context(clients.issue("orders"))
    with caplog.at_level(logging.DEBUG), TlsConnection(server.port, context) as connection:
        connection.send(raw_http2.PREFACE)
        connection.send_frame(raw_http2.SETTINGS)
        connection.send_frame(raw_http2.HEADERS, raw_http2.END_HEADERS, 1, block)
        connection.send_frame(raw_http2.DATA, raw_http2.END_STREAM, 1, bytes(5))
        assert any(frame.stream == 1 for frame in connection.frames())
    assert [line["reason"] for line in lines(caplog)] == ["CALLER_UNAUTHENTICATED"]
    assert secret not in caplog.text


def _text(value: bytes) -> bytes:
    return bytes((len(value),)) + value
