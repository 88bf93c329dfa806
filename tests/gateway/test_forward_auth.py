"""Envoy and nginx, as deploy/ configures them, between clients and a service."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from tests.edge_server import DEPLOY
from tests.gateway.forwarding import Answer, Company, Connection, Header, forwarding
from tests.nginx_server import INSTALL, NGINX
from tests.running_server import FakeClock, running_server
from tests.sandbox_server import RunningSandbox
from wxauth_gateway.identity_headers import ERROR_HEADER, IDENTITY_HEADERS
from wxauth_server.config import DEMO_APP_ID

DAY_MS = 86_400_000
Ask = Callable[..., Answer]
LogIn = Callable[..., Header]


@pytest.fixture(scope="module")
def company(
    tmp_path_factory: pytest.TempPathFactory,
    sandbox: RunningSandbox,
    server_loop: asyncio.AbstractEventLoop,
) -> Iterator[Company]:
    clock = FakeClock()
    directory = tmp_path_factory.mktemp("edges")
    with (
        forwarding(directory, server_loop, {}) as edges,
        running_server(directory / "data", sandbox, server_loop, clock=clock) as server,
        edges.gateway.serving(server.address),
    ):
        yield Company(edges, server, clock)


@pytest.fixture(params=["envoy", "nginx"])
def edge(request: pytest.FixtureRequest) -> str:
    if request.param == "nginx" and not NGINX:
        pytest.skip(INSTALL)
    return str(request.param)


@pytest.fixture
def ask(company: Company, edge: str) -> Ask:
    """Asks this edge, on a connection of its own."""

    def asked(method: str, path: str, *headers: Header, body: bytes | None = None) -> Answer:
        return company.forwarding.ask(edge, method, path, *headers, body=body)

    return asked


@pytest.fixture
def log_in(company: Company, edge: str) -> LogIn:
    """Logs a new user in through this edge; what to send from then on."""
    return partial(company.log_in, edge)


def test_the_service_is_told_who_it_is(ask: Ask, log_in: LogIn) -> None:
    session = log_in("张三")
    body = bytes(range(256)) * 1_600  # 400 KiB
    answer = ask("POST", "/orders/7?a=%C3%A4&b=", session, ("Content-Type", "x/y"), body=body)

    assert answer.seen["method"] == "POST"
    assert answer.seen["path"] == "/orders/7?a=%C3%A4&b="
    assert answer.seen["sha256"] == hashlib.sha256(body).hexdigest()
    direct = ask("GET", "/wxauth/session", session)
    told = json.loads(direct.body)
    assert answer.identity == {
        "x-wxauth-account-source": "local",
        "x-wxauth-account-id": told["account"]["id"],
        "x-wxauth-username": "%E5%BC%A0%E4%B8%89" + told["account"]["id"],
        "x-wxauth-app-id": DEMO_APP_ID,
        "x-wxauth-openid": told["openid"],
        "x-wxauth-session-handle": told["sessionHandle"],
        "x-wxauth-login-time": told["loginTime"],
        "x-wxauth-expire-time": told["expireTime"],
    } | ({"x-wxauth-unionid": told["unionid"]} if told["unionid"] else {})
    assert session[1].encode() not in answer.body
    assert "authorization" not in {name.lower() for name, _ in answer.seen["headers"]}


def test_the_gateway_is_told_where_clients_are(ask: Ask, log_in: LogIn) -> None:
    """And they do not choose it."""
    session = log_in("ann", ("X-Forwarded-For", "203.0.113.7"))
    [own] = json.loads(ask("GET", "/wxauth/sessions", session).body)["sessions"]
    # Envoy puts an address of the machine in place of the loopback.
    assert own["network"] not in {"", "203.0.113.0/24"}


def test_methods(company: Company, ask: Ask, log_in: LogIn) -> None:
    session = log_in("ann")
    # What a browser asks before it sends is no exception.
    preflight = (("Origin", "https://x.example"), ("Access-Control-Request-Method", "POST"))
    for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"):
        company.forwarding.service.asked.clear()
        assert ask(method, "/orders", *preflight).status == 401
        assert company.forwarding.service.asked == []
        assert ask(method, "/orders", session).status == 200
        assert company.forwarding.service.asked == [f"{method} /orders"]


def test_a_session_that_has_ended(company: Company, ask: Ask, log_in: LogIn) -> None:
    ended, expired = log_in("ann"), log_in("bob")
    assert ask("POST", "/wxauth/logout", ended).status == 200
    company.forwarding.service.asked.clear()
    refusals = {"SESSION_REVOKED": ask("POST", "/orders", ended)}
    company.clock.ms += 8 * DAY_MS
    refusals["SESSION_EXPIRED"] = ask("GET", "/orders", expired)
    metadata = {"SESSION_REVOKED": {"cause": "LOGOUT"}, "SESSION_EXPIRED": {"limit": "idle"}}
    for reason, refusal in refusals.items():
        assert refusal.status == 401
        assert refusal.headers["www-authenticate"] == "Bearer"
        assert refusal.headers["cache-control"] == "no-store"
        assert (refusal.error["reason"], refusal.error["metadata"]) == (reason, metadata[reason])
    assert company.forwarding.service.asked == []


NO_SESSION: list[list[Header]] = [
    [],
    [("Authorization", "Bearer wxs_" + "a" * 49)],
    [("Authorization", "Basic YTpi")],
    [("Cookie", "session=wxs_" + "a" * 49)],
    [("X-Wxauth-Account-Id", "id-1")],
    [("X-Forwarded-Uri", "/public/"), ("X-Original-URL", "/public/")],
    [("X-Http-Method-Override", "OPTIONS")],
]


def test_without_a_session(company: Company, ask: Ask) -> None:
    company.forwarding.service.asked.clear()
    for headers in NO_SESSION:
        refusal = ask("GET", "/orders", *headers)
        assert (refusal.status, refusal.error["reason"]) == (401, "SESSION_INVALID"), headers
    assert company.forwarding.service.asked == []


def spellings(name: str) -> list[str]:
    """As a client may write a header's name, so that some server takes it for ours."""
    return [
        name,
        name.lower(),
        name.upper(),
        name.replace("-", "_"),
        name.replace("-", "_").upper(),
        name.replace("-", "_", 1),
        name[::-1].replace("-", "_", 1)[::-1],
        name.replace("-", "."),
        name.replace("-", "~"),
    ]


MADE_UP = [
    (spelt, "admin")
    for name in (*IDENTITY_HEADERS, ERROR_HEADER)
    for spelt in spellings(name)
    for _ in range(2)
]


# In parts that a request has room for.
@pytest.mark.parametrize("part", range(4))
def test_what_clients_say_of_themselves(ask: Ask, log_in: LogIn, part: int) -> None:
    said = MADE_UP[part::4]
    session = log_in("ann")
    honest, spoofed = ask("GET", "/orders", session), ask("GET", "/orders", *said, session, *said)
    assert spoofed.identity == honest.identity
    assert len(honest.identity) >= 8
    public = ask("GET", "/public/news", session, *said)
    assert public.identity == {}
    assert b"admin" not in public.body + spoofed.body
    assert session[1].encode() not in public.body


def test_the_copied_headers_are_all_there_are() -> None:
    text = (DEPLOY / "nginx/wxauth-identity.conf").read_text("utf-8")
    named = re.findall(r"^proxy_set_header (X-Wxauth-\S+) ", text, re.MULTILINE)
    assert named == [*IDENTITY_HEADERS, ERROR_HEADER]


def test_nobody_inherits_the_one_before_on_a_connection(
    company: Company, edge: str, log_in: LogIn
) -> None:
    ann, bob = log_in("ann"), log_in("bob")
    with Connection(company.forwarding.ports[edge]) as connection:
        used = connection.socket
        told = [
            connection.ask("GET", "/orders", *headers)
            for headers in ((ann,), (bob,), (), (ann,), ())
        ]
        public = connection.ask("GET", "/public/news")
        assert connection.socket is used
    assert [answer.status for answer in told] == [200, 200, 401, 200, 401]
    first, second, third = (told[place].identity["x-wxauth-account-id"] for place in (0, 1, 3))
    assert first == third != second
    assert public.identity == {}


def test_a_large_head_is_not_the_gateways_concern(ask: Ask, log_in: LogIn) -> None:
    session, cookies = log_in("ann"), [(f"Cookie-{n}", "c" * 6_000) for n in range(3)]
    headers = ask("GET", "/orders", session, *cookies).seen["headers"]
    assert {name.lower(): value for name, value in headers}["cookie-2"] == "c" * 6_000


UPGRADE = (
    b"GET /chat HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\n"
    b"X-Wxauth-Account-Id: admin\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


def test_websocket(company: Company, edge: str, log_in: LogIn) -> None:
    bearer = ": ".join(log_in("ann")).encode() + b"\r\n"
    with Connection(company.forwarding.ports[edge]) as connection:
        connection.socket.sendall(UPGRADE + bearer + b"Upgrade: websocket\r\n\r\n")
        with connection.socket.makefile("rb") as received:
            assert received.readline().split()[1] == b"101"
            while received.readline() != b"\r\n":
                pass
            assert received.readline().startswith(b"id-")
            connection.socket.sendall(b"hello\n")
            assert received.readline() == b"hello\n"


@pytest.mark.parametrize("upgrade", ["websocket", "h2c", "h2c, websocket", "TLS/1.0"])
def test_no_other_upgrade(company: Company, edge: str, log_in: LogIn, upgrade: str) -> None:
    """Nor one to WebSocket without a session. The service would agree to any."""
    bearer = b"" if upgrade == "websocket" else ": ".join(log_in("ann")).encode() + b"\r\n"
    with Connection(company.forwarding.ports[edge]) as connection:
        connection.socket.sendall(UPGRADE + bearer + f"Upgrade: {upgrade}\r\n\r\n".encode())
        with connection.socket.makefile("rb") as received:
            assert received.readline().split()[1] in {b"200", b"400", b"401", b"403"}
