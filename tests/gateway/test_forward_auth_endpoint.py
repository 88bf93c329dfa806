"""What the gateway itself answers to proxies: /ext-authz, and the headers of a refusal."""

from __future__ import annotations

import asyncio
import itertools
import logging

import httpx
import pytest

from tests.gateway.conftest import Running, http_client
from tests.gateway.running import running_gateways
from tests.scripted_server import SESSION_ID, ScriptedServer, refuse
from wxauth_gateway.identity_headers import IDENTITY_HEADERS
from wxauth_gateway.settings import GatewaySettings

BEARER = {"Authorization": f"Bearer {SESSION_ID}"}
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND")
PATHS = (
    "/orders?appId=other&x=%FF",
    "/",
    "",
    "/login",
    "/%2e%2e/%2e%2e/logout",
    "/%00%ff",
    "/wx1/",
)


def test_any_method_and_path_ask_the_same(http: httpx.Client, server: ScriptedServer) -> None:
    for method, path in itertools.product(METHODS, PATHS):
        server.asked.clear()
        answer = http.request(method, f"/ext-authz/any{path}", headers=BEARER)
        assert answer.status_code == 200, (method, path)
        assert all(name in answer.headers for name in IDENTITY_HEADERS)
        assert [(name, request.app_id) for name, request in server.asked] == [
            ("ValidateSession", "")
        ]


def test_the_prefix_names_the_app(http: httpx.Client, server: ScriptedServer) -> None:
    assert http.put("/ext-authz/wx1/any/x", headers=BEARER).status_code == 200
    assert http.get("/ext-authz/anyorders", headers=BEARER).status_code == 200
    assert [request.app_id for request in server.requests("ValidateSession")] == [
        "wx1",
        "anyorders",  # of a path without a slash before it: no app, so no session of it
    ]


@pytest.mark.parametrize("path", ["/ext-authz", "/ext-authz/", "/ext-authz//orders"])
def test_without_an_app_there_is_nothing(
    http: httpx.Client, server: ScriptedServer, path: str
) -> None:
    assert http.get(path, headers=BEARER).status_code == 404
    assert server.asked == []


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_body_of_the_original_is_not_for_us(
    http: httpx.Client, server: ScriptedServer, method: str
) -> None:
    answer = http.request(method, "/ext-authz/any/orders", headers=BEARER, json={"a": 1})
    assert (answer.status_code, answer.json()["error"]["reason"]) == (400, "REQUEST_INVALID")
    assert server.asked == []


def test_its_content_type_is_not_looked_at(http: httpx.Client) -> None:
    headers = BEARER | {"Content-Type": "text/plain", "Content-Encoding": "br"}
    assert http.post("/ext-authz/any/orders", headers=headers).status_code == 200


def test_a_preflight_is_a_request_like_any_other(
    running: Running, server: ScriptedServer, server_loop: asyncio.AbstractEventLoop
) -> None:
    """204 would be a yes to a proxy that takes any 2xx for one."""
    origin = "https://www.example.com"
    headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    settings = GatewaySettings(server=running.server.address, cors_origins=(origin,))
    with running_gateways([settings], server_loop) as [address], http_client(address) as http:
        assert http.options("/session", headers=headers).status_code == 204
        assert http.options("/ext-authz/any/orders", headers=headers).status_code == 401
        assert http.options("/ext-authz/any/orders", headers=headers | BEARER).status_code == 200


def test_the_original_is_not_in_the_log(
    http: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        http.delete("/ext-authz/any/user/secret?token=secret", headers=BEARER)
        http.get("/healthz")  # a line is written just after its answer, before the next one
    lines = [record.getMessage() for record in caplog.records if record.name == "wxauth.gateway"]
    assert lines[0].startswith("GET /session 200 ")


@pytest.mark.parametrize("path", ["/session", "/ext-authz/any/orders"])
@pytest.mark.parametrize(
    ("reason", "status", "code"),
    [
        ("SESSION_REVOKED", "UNAUTHENTICATED", 401),
        ("STORE_UNAVAILABLE", "UNAVAILABLE", 503),
        ("CALLER_FORBIDDEN", "PERMISSION_DENIED", 503),
    ],
)
def test_a_refusal_is_in_a_header_too(
    http: httpx.Client, server: ScriptedServer, path: str, reason: str, status: str, code: int
) -> None:
    server.answers["ValidateSession"] = refuse(
        reason, status, message="Fixed: 固定的\r\n。", metadata={"cause": "LOGOUT"}
    )
    answer = http.get(path, headers=BEARER)
    assert (answer.status_code, answer.json()["error"]["reason"]) == (code, reason)
    in_header = httpx.Response(200, text=answer.headers["X-Wxauth-Error"]).json()
    assert in_header == answer.json()
    assert not any(name in answer.headers for name in IDENTITY_HEADERS)
