"""Certificates that are exchanged while the server runs; each handshake has those of its moment."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.certificates import Authority
from tests.keys_of_certificates import UNKNOWN_KEYS
from tests.rpc import raw_http2
from tests.rpc.known_callers import caller
from tests.rpc.tls_server import (
    TlsConnection,
    TlsServer,
    frames_until_closed,
    start_server,
    tls_server,
    validate,
)
from tests.running_server import refused
from wxauth_server.callers.caller import Role
from wxauth_server.rpc import credentials
from wxauth_server.rpc.server import PortInUse
from wxauth_server.settings import GrpcSettings

ORDERS = caller("orders", Role.SERVICE, certificate_names=["orders"])


@pytest.fixture
def clients(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "clients")


@pytest.fixture
def server(
    tmp_path: Path, clients: Authority, server_loop: asyncio.AbstractEventLoop
) -> Iterator[TlsServer]:
    with tls_server(tmp_path, server_loop, ORDERS, clients=clients) as running:
        yield running


def seen(server: TlsServer, clients: Authority) -> bytes:
    """The certificate that a new connection is shown."""
    with TlsConnection(server.port, server.context(clients.issue("orders"))) as connection:
        return connection.tls.getpeercert(binary_form=True) or b""


def issued(server: TlsServer) -> bytes:
    file = server.authority.ca.with_name("server.pem")
    return ssl.PEM_cert_to_DER_cert(file.read_text())


def test_new_connections_see_the_new_one_and_old_ones_go_on(
    server: TlsServer, clients: Authority
) -> None:
    first = issued(server)
    assert seen(server, clients) == first
    with server.stub(clients.issue("orders")) as stub:
        validate(stub)
        server.authority.issue("server", "127.0.0.1")
        assert seen(server, clients) == first, "nobody has looked yet"
        assert server.certificates.refresh()
        assert seen(server, clients) == issued(server) != first
        validate(stub)


def test_a_broken_one_leaves_the_old_in_use(server: TlsServer, clients: Authority) -> None:
    first = issued(server)
    other = server.authority.issue("other", "127.0.0.1")
    server.authority.ca.with_name("server.pem").write_bytes(other.certificate.read_bytes())
    for _ in range(2):
        assert not server.certificates.refresh()
        assert seen(server, clients) == first
    with server.stub(clients.issue("orders")) as stub:
        validate(stub)


def test_another_authority_for_clients(
    server: TlsServer, clients: Authority, tmp_path: Path
) -> None:
    """Who has a certificate of the old one is out, though the server met them before."""
    orders = clients.issue("orders")
    context = server.context(orders)
    with TlsConnection(server.port, context) as connection:
        connection.send(raw_http2.PREFACE)
        next(iter(connection.frames()))  # with it comes what resumes the session
        session = connection.tls.session
    with TlsConnection(server.port, context, session) as connection:
        assert connection.tls.session_reused, "without an exchange it is resumed"

    (tmp_path / "next").mkdir()
    following = Authority(tmp_path / "next", "clients")
    clients.ca.write_bytes(following.ca.read_bytes())
    assert server.certificates.refresh()
    before = server.arrived
    with server.stub(orders) as stub:
        assert refused(lambda: validate(stub)).code is grpc.StatusCode.UNAVAILABLE
    with TlsConnection(server.port, context, session) as connection:
        assert not connection.tls.session_reused
        assert frames_until_closed(connection) == []
    assert server.arrived == before
    with server.stub(following.issue("orders")) as stub:
        validate(stub)


def test_what_fails_in_a_handshake_fails_no_handshake(
    server: TlsServer, clients: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what failed once is tried again."""
    first = issued(server)
    server.authority.issue("server", "127.0.0.1")
    assert server.certificates.refresh()

    def fail(_: Any) -> Any:
        raise RuntimeError

    with monkeypatch.context() as broken:  # nothing makes it fail but a fault of ours
        broken.setattr(credentials, "_configuration", fail)
        assert seen(server, clients) == first
    assert seen(server, clients) == issued(server)


def test_a_key_that_grpc_does_not_know(
    server: TlsServer,
    clients: Authority,
    server_loop: asyncio.AbstractEventLoop,
) -> None:
    """Nobody looked at its kind here. gRPC keeps the old one, and does not start with it."""
    first = issued(server)
    server.authority.issue("server", "127.0.0.1", key=UNKNOWN_KEYS["secp256k1"]())
    assert server.certificates.refresh()
    assert seen(server, clients) == first != issued(server)
    settings = GrpcSettings(listen="127.0.0.1:0")
    with pytest.raises(PortInUse, match=r"its certificate has a key that gRPC cannot use"):
        start_server(server_loop, server.callers, server.certificates, settings)
    server.authority.issue("server", "127.0.0.1")
    assert server.certificates.refresh()
    assert seen(server, clients) == issued(server)
