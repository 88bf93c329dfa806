"""Edges whose gateway is gone, hangs or cannot say; and paths with two meanings: all refused."""

from __future__ import annotations

import asyncio
import itertools
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.edge_server import Behind
from tests.envoy_server import running_envoy
from tests.gateway.forwarding import Connection, Forwarding, forwarding
from tests.gateway.running import wait_for
from tests.gateway.scripted_services import ScriptedWeChatServer
from tests.scripted_server import SESSION_ID, refuse

APP = "wx0123456789abcdef"
BEARER = ("Authorization", f"Bearer {SESSION_ID}")


@pytest.fixture(scope="module")
def edges(
    tmp_path_factory: pytest.TempPathFactory, server_loop: asyncio.AbstractEventLoop
) -> Iterator[Forwarding]:
    """Edges for the sessions of one mini-program, as the comments in deploy/ say."""
    one_app = {"/ext-authz/any\n": f"/ext-authz/{APP}\n", "/session;\n": f"/session?appId={APP};\n"}
    with forwarding(tmp_path_factory.mktemp("edges"), server_loop, one_app) as running:
        yield running


def let_through(edges: Forwarding, edge: str) -> bool:
    """Whether the service is asked."""
    edges.service.asked.clear()
    status = edges.ask(edge, "GET", "/orders", BEARER).status
    assert (status == 200) == (edges.service.asked == ["GET /orders"])
    return status == 200


@pytest.mark.parametrize("fault", ["refused", "hanging"])
def test_no_gateway(edges: Forwarding, server: ScriptedWeChatServer, fault: str) -> None:
    wait_until_let_through(edges, server)
    with ExitStack() as stack:
        if fault == "hanging":
            stack.enter_context(edges.gateway.hanging())
        edges.service.asked.clear()
        begun = time.monotonic()
        with ThreadPoolExecutor() as clients:
            asking = [
                clients.submit(edges.ask, edge, method, "/orders", BEARER, body=b"x" * 1_000)
                for edge in edges.ports
                for method in ("GET", "POST")
            ]
        assert time.monotonic() - begun < 8  # 1 s, on a machine that does other things too
        for asked in asking:
            refusal = asked.result()
            assert (refusal.status, refusal.error["reason"]) == (503, "SERVER_UNREACHABLE")
            assert refusal.headers["retry-after"] == "1"
            assert refusal.headers["cache-control"] == "no-store"
        assert edges.service.asked == []
        for edge in edges.ports:
            assert edges.ask(edge, "GET", "/public/news").identity == {}
    wait_until_let_through(edges, server)


def wait_until_let_through(edges: Forwarding, server: ScriptedWeChatServer) -> None:
    """With a gateway, as soon as they find that it is there again."""
    with edges.gateway.serving(server.address):
        wait_for(lambda: all(let_through(edges, edge) for edge in edges.ports))


def test_an_edge_that_lets_through_would_be_noticed(edges: Forwarding, tmp_path: Path) -> None:
    """The negative control of the test before."""
    lenient = {"failure_mode_allow: false": "failure_mode_allow: true"}
    behind = Behind(edges.gateway.port, edges.service.server_address[1], lenient)
    with running_envoy(tmp_path, behind) as port, Connection(port) as connection:
        assert connection.ask("GET", "/orders", BEARER).status == 200
    assert not let_through(edges, "envoy")


@pytest.fixture
def gateway(edges: Forwarding, server: ScriptedWeChatServer) -> Iterator[Forwarding]:
    """The edges with a gateway of the scripted server."""
    with edges.gateway.serving(server.address):
        wait_for(lambda: all(let_through(edges, edge) for edge in edges.ports))
        server.asked.clear()
        edges.service.asked.clear()
        yield edges


def test_a_gateway_that_cannot_say(gateway: Forwarding, server: ScriptedWeChatServer) -> None:
    unable = {
        "STORE_UNAVAILABLE": "UNAVAILABLE",
        "CALLER_FORBIDDEN": "PERMISSION_DENIED",
        "CALLER_UNAUTHENTICATED": "UNAUTHENTICATED",
        "OVERLOADED": "RESOURCE_EXHAUSTED",
        "WECHAT_MISCONFIGURED": "INTERNAL",
    }
    for reason, status in unable.items():
        server.answers["ValidateSession"] = refuse(reason, status)
        for edge in gateway.ports:
            refusal = gateway.ask(edge, "GET", "/orders", BEARER)
            # Envoy passes on what is no 5xx; nginx has one answer for all.
            expected = (503, "SERVER_UNREACHABLE")
            if reason == "OVERLOADED" and edge == "envoy":
                expected = (429, reason)
            assert (refusal.status, refusal.error["reason"]) == expected
            assert "www-authenticate" not in refusal.headers
    assert gateway.service.asked == []


def test_only_of_this_app(gateway: Forwarding, server: ScriptedWeChatServer) -> None:
    for edge in gateway.ports:
        assert gateway.ask(edge, "PUT", "/orders?appId=other", BEARER).identity
    asked = [request.app_id for request in server.requests("ValidateSession")]
    assert asked == [APP] * len(gateway.ports)
    server.answers["ValidateSession"] = refuse("SESSION_INVALID", "UNAUTHENTICATED")
    for edge in gateway.ports:
        refusal = gateway.ask(edge, "PUT", "/orders", BEARER)
        assert (refusal.status, refusal.error["reason"]) == (401, "SESSION_INVALID")


AMBIGUOUS = [
    "/public/../orders",
    "/public/%2e%2e/orders",
    "/public/.%2E/orders",
    "/public/..%2forders",
    "/public%2f..%2forders",
    "/public/..;/orders",
    "/public/.;/../orders",
    "/public/..\\orders",
    "/public/%5c../orders",
    "/public//../orders",
    "/public//x",
    "//orders",
    "/orders/../public/x",
    "/orders/%2e%2e/public/x",
    "/orders/..%2fpublic/x",
    "/_wxauth",
    "/ext-authz/any/orders",
    "/PUBLIC/x",
    "/public",
]


def test_no_path_is_public_here_and_another_there(gateway: Forwarding) -> None:
    """Without a session: refused; or the service sees what is public whoever reads it."""
    for edge, path in itertools.product(gateway.ports, AMBIGUOUS):
        gateway.service.asked.clear()
        status = gateway.ask(edge, "GET", path).status
        assert status in {200, 301, 400, 401, 404}, (edge, path)
        assert (status == 200) == bool(gateway.service.asked)
        for seen in gateway.service.asked:
            assert re.fullmatch(r"GET /public/[a-z]+", seen), (edge, path)
