"""Which keys gRPC connects with: what callers/watching.py refuses rests on this."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from tests.certificates import Authority, PrivateKey
from tests.keys_of_certificates import DEAD_KEYS, GOOD_KEYS
from tests.rpc.known_callers import caller
from tests.rpc.tls_server import TlsServer, tls_server, validate
from tests.running_server import refused
from wxauth_server.callers.caller import Role


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("keys"), "clients")


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory,
    clients: Authority,
    server_loop: asyncio.AbstractEventLoop,
) -> Iterator[TlsServer]:
    """Its files are read without a look at the kind of key."""
    directory: Path = tmp_path_factory.mktemp("server")
    known = caller("orders", Role.SERVICE, certificate_names=["orders"])
    with tls_server(directory, server_loop, known, clients=clients) as running:
        yield running


def set_key(server: TlsServer, key: PrivateKey | None) -> None:
    server.authority.issue("server", "127.0.0.1", key=key)
    assert server.certificates.refresh()


@pytest.mark.parametrize("kind", GOOD_KEYS)
def test_good_keys(server: TlsServer, clients: Authority, kind: str) -> None:
    set_key(server, GOOD_KEYS[kind]())
    with server.stub(clients.issue("orders", key=GOOD_KEYS[kind]())) as stub:
        validate(stub)


@pytest.mark.parametrize("kind", DEAD_KEYS)
def test_keys_that_no_client_connects_with(
    server: TlsServer, clients: Authority, kind: str
) -> None:
    """gRPC takes them, says nothing, and the server is alone from then on."""
    orders = clients.issue("orders")
    set_key(server, DEAD_KEYS[kind]())
    with server.stub(orders) as stub:
        assert refused(lambda: validate(stub)).code is grpc.StatusCode.UNAVAILABLE
    set_key(server, None)
    with server.stub(orders) as stub:
        validate(stub)
