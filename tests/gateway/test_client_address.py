"""Whose address the server is told: the peer's, or the one that trusted proxies appended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.gateway.conftest import Running
from tests.gateway.running import running_gateways
from tests.scripted_server import ScriptedServer
from wxauth_gateway import inbound_headers
from wxauth_gateway.client_address import ClientAddress, parse_address
from wxauth_gateway.settings import GatewaySettings

REAL = "203.0.113.7"
FORWARDED = "X-Forwarded-For"


@pytest.fixture(scope="module")
def addresses(
    running: Running, server_loop: asyncio.AbstractEventLoop
) -> Iterator[dict[int, tuple[str, int]]]:
    """Where gateways listen that trust 1 and 2 hops."""
    settings = [GatewaySettings(server=running.server.address, trusted_hops=n) for n in (1, 2)]
    with running_gateways(settings, server_loop) as [one, two]:
        yield {0: running.address, 1: one, 2: two}


def log_in(
    address: tuple[str, int], server: ScriptedServer, *headers: list[tuple[str, str]]
) -> list[str]:
    """The addresses that the server was told, of one login with each of these headers."""
    base_url = f"http://{address[0]}:{address[1]}"
    with httpx.Client(base_url=base_url, trust_env=False, verify=False) as http:
        for each in headers:
            http.post("/login", json={"code": "c"}, headers=each).raise_for_status()
    return [request.client.address for request in server.requests("Login")]


def spoofed(number: int) -> str:
    return f"198.51.{number // 250}.{number % 250 + 1}"


@pytest.mark.parametrize(
    ("hops", "behind"), [(1, REAL), (2, f"{REAL}, 192.0.2.1")], ids=["one proxy", "two proxies"]
)
def test_300_claims_do_not_move_the_address(
    addresses: dict[int, tuple[str, int]], server: ScriptedServer, hops: int, behind: str
) -> None:
    """What nginx sends on: the claim, in one line or a line of its own, and whom it saw."""
    claims = [
        [(FORWARDED, f"{spoofed(number)}, {behind}")]
        if number % 2
        else [(FORWARDED, spoofed(number)), (FORWARDED, behind)]
        for number in range(300)
    ]
    assert log_in(addresses[hops], server, *claims) == [REAL] * 300


def test_one_hop_too_many_believes_every_claim(
    addresses: dict[int, tuple[str, int]], server: ScriptedServer
) -> None:
    """The negative control, and why the number must be right."""
    claims = [[(FORWARDED, f"{spoofed(number)}, {REAL}")] for number in range(20)]
    assert log_in(addresses[2], server, *claims) == [spoofed(number) for number in range(20)]


def test_without_trusted_hops_it_is_the_peer(
    addresses: dict[int, tuple[str, int]], server: ScriptedServer
) -> None:
    headers = [[(FORWARDED, REAL)], [(FORWARDED, "nonsense")], []]
    assert log_in(addresses[0], server, *headers) == ["127.0.0.1"] * 3


@pytest.mark.parametrize("name", ["X_Forwarded_For", "X-Real-IP", "Forwarded", "X-Client-IP"])
def test_no_other_header_counts(
    addresses: dict[int, tuple[str, int]], server: ScriptedServer, name: str
) -> None:
    headers = [[(name, "198.51.100.1"), (FORWARDED, REAL)], [(name, "198.51.100.1")]]
    assert log_in(addresses[1], server, *headers) == [REAL, ""]


def scope(*lines: str) -> dict[str, Any]:
    """As the edge leaves it."""
    headers = [(b"x-forwarded-for", line.encode("latin-1")) for line in lines]
    scope = {"type": "http", "headers": headers, "client": ("127.0.0.1", 1)}
    inbound_headers.strip(scope)
    return scope


@pytest.mark.parametrize(
    ("hops", "lines", "address"),
    [
        (1, ["192.0.2.1"], "192.0.2.1"),
        (1, ["192.0.2.1,192.0.2.2"], "192.0.2.2"),
        (1, ["192.0.2.1", "192.0.2.2 "], "192.0.2.2"),
        (2, ["192.0.2.1", "192.0.2.2\t, 192.0.2.3"], "192.0.2.2"),
        (3, ["192.0.2.1, 192.0.2.2", "192.0.2.3"], "192.0.2.1"),
        (10, [", ".join(f"192.0.2.{number}" for number in range(12))], "192.0.2.2"),
        (4, ["192.0.2.1, 192.0.2.2", "192.0.2.3"], ""),
        (1, [], ""),
        (1, [""], ""),
        (2, ["192.0.2.1,"], "192.0.2.1"),
        (1, ["192.0.2.1,"], ""),
        (1, ["192.0.2.1,,"], ""),
        (1, ["192.0.2.1, unknown"], ""),
    ],
)
def test_the_nth_from_the_right(hops: int, lines: list[str], address: str) -> None:
    assert ClientAddress(hops).of(scope(*lines)) == address


@pytest.mark.parametrize(
    ("peer", "address"),
    [(("192.0.2.1", 5), "192.0.2.1"), (("fe80::1%eth0", 5), "fe80::1"), (("", 0), ""), (None, "")],
    ids=["IPv4", "zone", "Unix socket", "none"],
)
def test_peers(peer: tuple[str, int] | None, address: str) -> None:
    assert ClientAddress(0).of({"type": "http", "headers": [], "client": peer}) == address


@pytest.mark.parametrize(
    ("entry", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1:5060", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:5060", "2001:db8::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("[::ffff:192.0.2.1]:80", "192.0.2.1"),
        ("::1", "::1"),
        ("fe80::1%eth0", ""),
        ("[fe80::1%eth0]:80", ""),
        ("192.0.2.1:", ""),
        ("192.0.2.1:x", ""),
        ("192.0.2.1:123456", ""),
        ("192.0.2.1:٤", ""),
        ("192.0.2.01", ""),
        ("192.0.2", ""),
        ("3221225985", ""),
        ("0xc0000201", ""),
        ("[2001:db8::1", ""),
        ("2001:db8::1]", ""),
        ("[]", ""),
        ("[[::1]]", ""),
        ("192.0.2.1/24", ""),
        ("192.0.2.1 192.0.2.2", ""),
        ("unknown", ""),
        ("_hidden", ""),
        ('"[2001:db8::1]"', ""),
        ("", ""),
        ("a" * 8_000, ""),
    ],
)
def test_entries(entry: str, address: str) -> None:
    assert parse_address(entry) == address


def test_what_is_no_address_is_told_once_and_not_quoted(caplog: pytest.LogCaptureFixture) -> None:
    clients = ClientAddress(1)
    with caplog.at_level(logging.WARNING):
        assert clients.of(scope("192.0.2.1")) == "192.0.2.1"
        assert caplog.records == []
        for entry in ("CANARY\x1b[31m", "", "CANARY"):
            assert clients.of(scope(entry)) == ""
    [record] = caplog.records
    assert "gateway.trusted_hops" in record.getMessage()
    assert "CANARY" not in record.getMessage()
