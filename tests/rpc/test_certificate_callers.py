"""Callers that prove themselves by the names in their certificate, or by a token beside it."""

from __future__ import annotations

import asyncio
import datetime
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.certificates import Authority, Issued
from tests.raw_certificates import issue_raw
from tests.rpc.known_callers import a_token, bearer, caller
from tests.rpc.tls_server import TlsServer, tls_server, validate
from tests.running_server import FakeClock, Refusal, refused
from wxauth_server.callers.caller import Role

SPIFFE = "spiffe://company.example/orders"
ORDERS_TOKEN = a_token()
ORDERS = caller("orders", Role.SERVICE, certificate_names=["orders.internal", SPIFFE])
GATEWAY = caller("gateway", Role.GATEWAY, certificate_names=["gateway.internal"])
OPERATOR = caller("operator", Role.ADMIN, token=ORDERS_TOKEN)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(int(time.time() * 1000))


@pytest.fixture
def clients(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "clients")


@pytest.fixture
def server(
    tmp_path: Path,
    clients: Authority,
    clock: FakeClock,
    server_loop: asyncio.AbstractEventLoop,
) -> Iterator[TlsServer]:
    with tls_server(
        tmp_path, server_loop, ORDERS, GATEWAY, OPERATOR, clients=clients, clock=clock
    ) as running:
        yield running


def refusal_of(server: TlsServer, client: Issued, *metadata: tuple[str, str]) -> Refusal:
    """It did get as far as the guard."""
    before = server.arrived
    with server.stub(client) as stub:
        refusal = refused(lambda: validate(stub, *metadata))
    assert server.arrived == before + 1
    return refusal


@pytest.mark.parametrize(
    "names",
    [["orders.internal"], [SPIFFE], ["orders.internal", SPIFFE], ["unknown", "orders.internal"]],
)
def test_a_name_of_a_caller(server: TlsServer, clients: Authority, names: list[str]) -> None:
    with server.stub(clients.issue("somebody", *names)) as stub:
        validate(stub)


@pytest.mark.parametrize(
    "names",
    [
        ["unknown.internal"],
        ["orders.internal", "gateway.internal"],
        ["*.internal"],
        ["www.orders.internal"],
        ["orders.internal.example"],
        ["ORDERS.INTERNAL"],
        ["spiffe://company.example/orders/x"],
        ["127.0.0.1"],
    ],
)
def test_names_of_nobody_or_of_two(server: TlsServer, clients: Authority, names: list[str]) -> None:
    client = clients.issue("somebody", *names)
    assert refusal_of(server, client).reason == "CALLER_UNAUTHENTICATED"


@pytest.mark.parametrize(
    "names",
    [
        [],
        [(2, b"orders.internal\0.evil.example")],
        [(6, b"spiffe://company.example/orders\0.evil.example")],
        [(1, b"orders.internal")],
        [(2, b"\xff\xfe\xfd"), (2, b"orders.internal")],
    ],
    ids=["common name alone", "DNS name behind a NUL", "URI behind a NUL", "e-mail", "no ASCII"],
)
def test_names_that_are_none(
    server: TlsServer, clients: Authority, tmp_path: Path, names: list[tuple[int, bytes]]
) -> None:
    client = issue_raw(clients, tmp_path, "orders.internal", names)
    assert refusal_of(server, client).reason == "CALLER_UNAUTHENTICATED"
    good = issue_raw(clients, tmp_path, "x", [(2, b"orders.internal")])
    with server.stub(good) as stub:
        validate(stub)


def test_a_token_decides_alone(server: TlsServer, clients: Authority) -> None:
    """Whoever sends one means it: a wrong one is not made good by a certificate."""
    orders, nobody = clients.issue("orders.internal"), clients.issue("nobody")
    assert refusal_of(server, orders, *bearer(ORDERS_TOKEN)).metadata == {"caller": "operator"}
    assert refusal_of(server, nobody, *bearer(ORDERS_TOKEN)).metadata == {"caller": "operator"}
    assert refusal_of(server, orders, *bearer(a_token())).reason == "CALLER_UNAUTHENTICATED"
    for value in ("", "Bearer", "Basic b3JkZXJz", ORDERS_TOKEN):
        refusal = refusal_of(server, orders, ("authorization", value))
        assert refusal.reason == "CALLER_UNAUTHENTICATED"


def test_revoked_while_the_connection_lives(server: TlsServer, clients: Authority) -> None:
    with server.stub(clients.issue("orders.internal")) as stub:
        validate(stub)
        server.set_callers(GATEWAY)
        assert refused(lambda: validate(stub)).reason == "CALLER_UNAUTHENTICATED"
        server.set_callers(GATEWAY, ORDERS)
        validate(stub)


def test_a_certificate_that_ends_while_the_connection_lives(
    server: TlsServer, clients: Authority, clock: FakeClock
) -> None:
    """Nobody looks at it again otherwise: not TLS, and not when a session is resumed."""
    client = clients.issue("orders.internal", good_for=datetime.timedelta(hours=1))
    with server.stub(client) as stub:
        clock.ms += 59 * 60_000
        validate(stub)
        clock.ms += 60_000
        assert refused(lambda: validate(stub)).reason == "CALLER_UNAUTHENTICATED"
        # A token beside it still proves what it proves.
        refusal = refused(lambda: validate(stub, *bearer(ORDERS_TOKEN)))
        assert refusal.metadata == {"caller": "operator"}
