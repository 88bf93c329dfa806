"""A gateway in front of a scripted gRPC server; and one that allows GET /login."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest

from tests.certificates import Authority, Issued
from tests.gateway.running import running_gateways
from tests.gateway.scripted_services import ScriptedWeChatServer, scripted_wechat_server
from tests.gateway.tls_clients import Address, Serving
from wxauth_client import retrying
from wxauth_client.certificates import ServerTls
from wxauth_gateway.settings import GatewaySettings


@dataclass(frozen=True)
class Running:
    server: ScriptedWeChatServer
    address: tuple[str, int]
    lenient_address: tuple[str, int]
    lost_address: tuple[str, int]  # its gRPC server does not exist


@pytest.fixture(scope="session")
def running(server_loop: asyncio.AbstractEventLoop) -> Iterator[Running]:
    with (
        scripted_wechat_server() as server,
        running_gateways(
            [
                GatewaySettings(server=server.address),
                GatewaySettings(server=server.address, allow_get_login=True),
                GatewaySettings(server="127.0.0.1:1"),
            ],
            server_loop,
        ) as addresses,
    ):
        yield Running(server, *addresses)


@pytest.fixture
def server(running: Running) -> ScriptedWeChatServer:
    """The gRPC server behind; its script starts afresh."""
    running.server.reset()
    return running.server


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """A login is retried as always, but without its first delay of 0.1 s."""
    monkeypatch.setattr(retrying, "LOGIN", replace(retrying.LOGIN, first_delay_s=0.001))


def http_client(address: tuple[str, int]) -> httpx.Client:
    # verify=False, or each client first loads all the root certificates.
    base_url = f"http://{address[0]}:{address[1]}"
    return httpx.Client(base_url=base_url, trust_env=False, verify=False)


@pytest.fixture
def http(running: Running, server: ScriptedWeChatServer) -> Iterator[httpx.Client]:
    """Talks to the gateway as it is by default."""
    with http_client(running.address) as client:
        yield client


@pytest.fixture
def lenient(running: Running, server: ScriptedWeChatServer) -> Iterator[httpx.Client]:
    """Talks to the gateway that allows GET /login."""
    with http_client(running.lenient_address) as client:
        yield client


@pytest.fixture
def lost(running: Running) -> Iterator[httpx.Client]:
    """Talks to a gateway whose gRPC server does not exist."""
    with http_client(running.lost_address) as client:
        yield client


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def serving(running: Running, server_loop: asyncio.AbstractEventLoop) -> Serving:
    """Serves HTTPS with a certificate and perhaps an authority of clients."""

    @contextmanager
    def serve(issued: Issued, client_ca: Path | None = None) -> Iterator[Address]:
        tls = ServerTls(issued.certificate, issued.key, client_ca)
        settings = GatewaySettings(server=running.server.address, tls=tls)
        with running_gateways([settings], server_loop) as [address]:
            yield address

    return serve
