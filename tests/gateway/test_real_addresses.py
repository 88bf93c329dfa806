"""Who floods is counted by the address that counts, whatever addresses they claim to have."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.gateway.conftest import http_client
from tests.gateway.running import running_gateways
from tests.running_server import RunningServer, running_server
from tests.sandbox_server import RunningSandbox
from wxauth_gateway.settings import GatewaySettings

# Of the internet: others are not counted, they would be of a proxy.
REAL = "1.2.3.4"
OTHER = "1.2.3.5"


@pytest.fixture
def server(
    tmp_path: Path, sandbox: RunningSandbox, server_loop: asyncio.AbstractEventLoop
) -> Iterator[RunningServer]:
    """Lets one login a minute pass from each address; the next one is refused at once."""
    limits = {"logins_per_minute_of_address": 1, "logins_per_s": 1_000_000}
    with running_server(tmp_path / "data", sandbox, server_loop, throttle=limits) as server:
        yield server


@contextmanager
def gateway(
    server: RunningServer, loop: asyncio.AbstractEventLoop, trusted_hops: int
) -> Iterator[httpx.Client]:
    settings = GatewaySettings(server=server.address, trusted_hops=trusted_hops)
    with running_gateways([settings], loop) as [address], http_client(address) as http:
        yield http


def behind(proxy_saw: str, number: int) -> dict[str, str]:
    """What nginx sends on for a client that claims another address each time."""
    claim = f"9.{number // 250}.{number % 250}.1"
    return {
        "X-Forwarded-For": f"{claim}, {proxy_saw}",
        "X-Real-IP": claim,
        "Forwarded": f"for={claim}",
        "X_Forwarded_For": claim,
    }


def reason(http: httpx.Client, headers: dict[str, str]) -> str:
    """Why this login is refused: it has no code of WeChat's."""
    answer = http.post("/login", json={"code": "x" * 32}, headers=headers)
    return str(answer.json()["error"]["reason"])


def test_1000_claims_are_one_address(
    server: RunningServer, server_loop: asyncio.AbstractEventLoop
) -> None:
    with gateway(server, server_loop, trusted_hops=1) as http:
        reasons = [reason(http, behind(REAL, number)) for number in range(1_000)]
        assert reason(http, behind(OTHER, 0)) == "CODE_INVALID"
    assert reasons == ["CODE_INVALID"] + ["THROTTLED"] * 999


def test_one_hop_too_many_counts_each_claim(
    server: RunningServer, server_loop: asyncio.AbstractEventLoop
) -> None:
    """The negative control, and why the number must be right."""
    with gateway(server, server_loop, trusted_hops=2) as http:
        reasons = {reason(http, behind(REAL, number)) for number in range(20)}
    assert reasons == {"CODE_INVALID"}
