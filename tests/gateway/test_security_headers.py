"""The same headers on every answer: of every route, of every status, of every kind."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import socket
import threading

import httpx
import pytest

from tests.gateway.conftest import Running
from tests.gateway.running import wait_for
from tests.gateway.scripted_services import ScriptedWeChatServer
from tests.scripted_server import SESSION_ID, fail, refuse
from wxauth.v1 import auth_service_pb2 as pb
from wxauth_gateway import edge
from wxauth_gateway.listening import Server
from wxauth_gateway.serve import uvicorn_config
from wxauth_gateway.settings import GatewaySettings

ALWAYS = {
    b"cache-control": b"no-store",
    b"x-content-type-options": b"nosniff",
    b"strict-transport-security": b"max-age=31536000",
}
NEVER = {b"server", b"x-powered-by", b"set-cookie", b"access-control-allow-origin", b"vary"}
BEARER = b"Authorization: Bearer " + SESSION_ID.encode()
HANDLE = "A" * 22

# route -> a body that it takes; None: it is asked with GET
ROUTES: dict[str, bytes | None] = {
    "/login": b'{"code":"c"}',
    "/session": None,
    "/sessions": None,
    f"/sessions/{HANDLE}/revoke": b"{}",
    "/logout": b"{}",
    "/unbind": b'{"code":"c"}',
    "/account/delete": b'{"code":"c"}',
    "/wechat/phone-number": b'{"code":"c"}',
    "/wechat/user-data": b'{"encryptedData":"e","iv":"i"}',
    "/healthz": None,
    "/readyz": None,
    "/openapi.json": None,
    "/docs": None,
    "/docs/swagger-ui-bundle.js": None,
    "/docs/swagger-ui.css": None,
    "/docs/favicon-32x32.png": None,
}
CHANGING = [path for path, body in ROUTES.items() if body is not None]
OF_THE_SERVER = [path for path in CHANGING if path != "/login"] + ["/session", "/sessions"]


def request(method: str, path: str, *lines: bytes, body: bytes | None = None) -> bytes:
    if body is not None:
        lines = (*lines, b"Content-Type: application/json", b"Content-Length: %d" % len(body))
    head = (f"{method} {path} HTTP/1.1".encode(), b"Host: x", b"Connection: close", *lines)
    return b"\r\n".join((*head, b"", body or b""))


def good(path: str, *lines: bytes) -> bytes:
    body = ROUTES[path]
    return request("GET" if body is None else "POST", path, BEARER, *lines, body=body)


def exchange(address: tuple[str, int], sent: bytes) -> bytes:
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(sent)
        return b"".join(iter(lambda: connection.recv(65_536), b""))


def check(received: bytes, status: int) -> None:
    """The status, and each header once."""
    head, _, _ = received.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    assert first.split(b" ")[1] == str(status).encode(), received[:400]
    headers = [tuple(line.lower().split(b": ", 1)) for line in lines]
    names = [name for name, *_ in headers]
    for name, value in ALWAYS.items():
        assert names.count(name) == 1, name
        assert (name, value) in headers
    assert not NEVER & set(names)


def test_the_routes_are_all_there(http: httpx.Client) -> None:
    described = {
        path.replace("{handle}", HANDLE) for path in http.get("/openapi.json").json()["paths"]
    }
    assert described == {path for path in ROUTES if "/docs" not in path} - {"/openapi.json"}


@pytest.mark.parametrize("path", ROUTES)
def test_of_each_route(running: Running, server: ScriptedWeChatServer, path: str) -> None:
    address = running.address
    check(exchange(address, good(path)), 200)
    check(exchange(address, good(path, b"X: " + b"y" * 9_000)), 431)
    check(exchange(address, request("TRACE", path)), 405)
    check(exchange(address, request("OPTIONS", path, b"Origin: https://a.example")), 405)
    check(exchange(address, request("PUT", path, body=b"{}")), 405)
    if ROUTES[path] is None:
        check(exchange(address, request("POST", path, body=b"{}")), 405)
        check(exchange(address, request("GET", path, body=b"{}")), 400)
        return
    check(exchange(address, request("GET", path)), 405)
    check(exchange(address, request("POST", path, BEARER, body=b"not JSON")), 400)
    check(exchange(address, request("POST", path, BEARER, body=b"[]")), 400)
    check(exchange(address, request("POST", path, BEARER, body=b" " * 70_000)), 413)
    form = b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 3"
    check(exchange(address, request("POST", path, BEARER, form) + b"a=b"), 415)


@pytest.mark.parametrize("path", OF_THE_SERVER)
@pytest.mark.parametrize(
    ("reason", "status", "code"),
    [
        ("SESSION_EXPIRED", "UNAUTHENTICATED", 401),
        ("PROOF_INVALID", "PERMISSION_DENIED", 403),
        ("THROTTLED", "RESOURCE_EXHAUSTED", 429),
        ("STORE_UNAVAILABLE", "UNAVAILABLE", 503),
        ("CALLER_UNAUTHENTICATED", "UNAUTHENTICATED", 503),
        ("CALLER_FORBIDDEN", "PERMISSION_DENIED", 503),
    ],
)
def test_of_what_the_server_refuses(
    running: Running, server: ScriptedWeChatServer, path: str, reason: str, status: str, code: int
) -> None:
    for method in server.answers:
        server.answers[method] = refuse(reason, status)
    received = exchange(running.address, good(path))
    check(received, code)
    assert f'"reason": "{reason}"'.encode() in received


def test_of_failures(running: Running, server: ScriptedWeChatServer) -> None:
    server.answers["ValidateSession"] = fail("INTERNAL")
    check(exchange(running.address, good("/session")), 500)
    server.answers["ValidateSession"] = fail("DEADLINE_EXCEEDED")
    check(exchange(running.address, good("/session")), 504)
    check(exchange(running.lost_address, good("/session")), 503)
    check(exchange(running.lost_address, good("/readyz")), 503)
    check(exchange(running.address, request("GET", "/session")), 401)
    check(exchange(running.address, request("GET", "/nothing")), 404)


def test_of_what_is_refused_before_the_application(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge, "BODY_READ_TIMEOUT_S", 0.05)
    unfinished = request("POST", "/login", b"Content-Type: application/json", b"Content-Length: 9")
    check(exchange(running.address, unfinished + b"{"), 408)
    check(exchange(running.address, b"GET /" + b"a" * 9_000), 431)
    check(exchange(running.address, b"not HTTP\r\n\r\n"), 400)
    check(exchange(running.address, b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n"), 400)
    smuggled = request("POST", "/login", b"Transfer-Encoding: chunked", body=b"0\r\n\r\nGET /x")
    received = exchange(running.address, smuggled)
    check(received, 400)
    assert received.count(b"HTTP/1.1 ") == 1


def test_of_what_a_stop_cuts_off(
    server: ScriptedWeChatServer, server_loop: asyncio.AbstractEventLoop
) -> None:
    """A login that takes longer than the stop may is told so."""
    go_on = threading.Event()

    def slow(_request: object, _context: object) -> pb.LogoutResponse:
        assert go_on.wait(10)
        return pb.LogoutResponse()

    server.answers["Logout"] = slow
    config = uvicorn_config(GatewaySettings(server=server.address))
    config.timeout_graceful_shutdown = 0
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname(), timeout=10) as connection,
    ):
        gateway = Server(config)
        serving = asyncio.run_coroutine_threadsafe(gateway.serve([listener]), server_loop)
        connection.sendall(good("/logout"))
        wait_for(lambda: bool(server.requests("Logout")))
        gateway.should_exit = True
        received = b"".join(iter(lambda: connection.recv(65_536), b""))
        serving.result(10)
        go_on.set()
    check(received, 503)
    assert b'"retryAfter": "1s"' in received


def test_the_page_runs_its_own_script_only(http: httpx.Client) -> None:
    answer = http.get("/docs")
    policy = dict(
        part.strip().split(" ", 1) for part in answer.headers["Content-Security-Policy"].split(";")
    )
    [script] = re.findall(r"<script>(.*?)</script>", answer.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy["script-src"] == f"'self' 'sha256-{digest}'"
    assert policy["default-src"] == policy["frame-ancestors"] == "'none'"
    named = re.findall(r'(?:src|href)="([^"]*)"', answer.text)
    assert len(named) == 3
    assert all(path.startswith("/docs/") for path in named)
    assert not re.search(r"<[^>]*\son\w+=", answer.text)
