"""Who is no caller gets nowhere: over TLS no call of theirs reaches the server's code."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import grpc
import pytest

from tests.certificates import Authority, Issued
from tests.rpc.known_callers import caller
from tests.rpc.raw_http2 import RawConnection
from tests.rpc.tls_server import (
    TlsConnection,
    TlsServer,
    frames_until_closed,
    send_call,
    tls_server,
    validate,
)
from tests.running_server import refused
from wxauth.v1.auth_service_pb2_grpc import AuthServiceStub
from wxauth_server.callers.caller import Role

YESTERDAY = datetime.timedelta(days=-1)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def clients(directory: Path) -> Authority:
    return Authority(directory, "clients")


@pytest.fixture(scope="module")
def orders(clients: Authority) -> Issued:
    return clients.issue("orders")


@pytest.fixture(scope="module", params=["tls", "mtls"])
def server(
    request: pytest.FixtureRequest,
    directory: Path,
    clients: Authority,
    server_loop: asyncio.AbstractEventLoop,
) -> Iterator[TlsServer]:
    asked = clients if request.param == "mtls" else None
    known = caller("orders", Role.SERVICE, certificate_names=["orders"])
    with tls_server(directory, server_loop, known, clients=asked) as running:
        yield running


@pytest.fixture(scope="module")
def mtls(
    directory: Path, clients: Authority, server_loop: asyncio.AbstractEventLoop
) -> Iterator[TlsServer]:
    known = caller("orders", Role.SERVICE, certificate_names=["orders"])
    with tls_server(directory, server_loop, known, clients=clients) as running:
        yield running


def assert_gets_nowhere(
    server: TlsServer, orders: Issued, way: AbstractContextManager[AuthServiceStub]
) -> None:
    before = server.arrived
    with way as stub:
        refusal = refused(lambda: validate(stub))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNAVAILABLE, "")
    assert_only_one_more_arrives(server, orders, before)


def assert_only_one_more_arrives(server: TlsServer, orders: Issued, before: int) -> None:
    """The right one does, and proves that what came before it would have been counted."""
    with server.stub(orders) as stub:
        if server.certificates.value.authorities:
            validate(stub)
        else:  # does not ask for a certificate, so nobody proves anything by one
            assert refused(lambda: validate(stub)).reason == "CALLER_UNAUTHENTICATED"
    assert server.arrived == before + 1


def test_the_server_has_another_name(server: TlsServer, orders: Issued) -> None:
    assert_gets_nowhere(server, orders, server.stub(orders, name="elsewhere"))


def test_the_server_is_of_another_authority(
    server: TlsServer, orders: Issued, directory: Path
) -> None:
    rogue = Authority(directory, "rogue")
    assert_gets_nowhere(server, orders, server.stub(orders, ca=rogue.ca))


def test_the_servers_certificate_has_expired(
    tmp_path: Path, server_loop: asyncio.AbstractEventLoop, clients: Authority, orders: Issued
) -> None:
    known = caller("orders", Role.SERVICE, certificate_names=["orders"])
    with tls_server(tmp_path, server_loop, known, clients=clients) as server:
        server.authority.issue("server", "127.0.0.1", good_for=YESTERDAY)
        assert server.certificates.refresh()
        with server.stub(orders) as stub:
            assert refused(lambda: validate(stub)).code is grpc.StatusCode.UNAVAILABLE
        server.authority.issue("server", "127.0.0.1")
        assert server.certificates.refresh()
        assert_only_one_more_arrives(server, orders, 0)


def test_plaintext(server: TlsServer, orders: Issued) -> None:
    before = server.arrived
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        refusal = refused(lambda: validate(AuthServiceStub(channel)))
    assert refusal.code is grpc.StatusCode.UNAVAILABLE
    with RawConnection(server.port) as connection:
        assert frames_until_closed(connection) == []
    assert_only_one_more_arrives(server, orders, before)


@pytest.mark.parametrize(
    "version", [ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
)
def test_versions(server: TlsServer, orders: Issued, version: ssl.TLSVersion) -> None:
    before = server.arrived
    context = server.context(orders)
    context.set_ciphers("ALL:@SECLEVEL=0")  # else our own side gives up first
    context.maximum_version = ssl.TLSVersion.MAXIMUM_SUPPORTED
    if version is ssl.TLSVersion.TLSv1_1:
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            context.minimum_version = version
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            context.maximum_version = version
        # What it says is that the server closed, which an offer of ours was made to.
        with pytest.raises((ssl.SSLEOFError, ConnectionResetError)):
            TlsConnection(server.port, context)
        assert_only_one_more_arrives(server, orders, before)
        return
    context.minimum_version = context.maximum_version = version
    with TlsConnection(server.port, context) as connection:
        send_call(connection)
        assert any(frame.stream == 1 for frame in connection.frames())
    assert server.arrived == before + 1


Client = Callable[[Path, Authority], Issued | None]

#: Whom a server that asks for certificates does not let in.
STRANGERS: dict[str, Client] = {
    "no certificate": lambda directory, clients: None,
    "rogue authority": lambda directory, clients: Authority(directory, "rogue").issue(
        "orders", file="rogue"
    ),
    "rogue authority of the same name": lambda directory, clients: Authority(
        _made(directory / "same"), "clients"
    ).issue("orders"),
    "expired": lambda directory, clients: clients.issue(
        "orders", file="expired", good_for=YESTERDAY
    ),
    "self-signed": lambda directory, clients: clients.issue(
        "orders", file="self-signed", self_signed=True
    ),
}


@pytest.mark.parametrize("stranger", STRANGERS)
def test_strangers(
    mtls: TlsServer, orders: Issued, directory: Path, clients: Authority, stranger: str
) -> None:
    client = STRANGERS[stranger](directory, clients)
    assert_gets_nowhere(mtls, orders, mtls.stub(client))

    # TLS 1.3 has the client finish first: a call may be on its way before it is refused.
    before = mtls.arrived
    with TlsConnection(mtls.port, mtls.context(client)) as connection:
        assert frames_until_closed(connection) == []
    assert_only_one_more_arrives(mtls, orders, before)


def _made(directory: Path) -> Path:
    directory.mkdir(exist_ok=True)
    return directory
