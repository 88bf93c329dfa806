"""CORS: off unless configured, and then for exactly the origins that are named."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

import httpx
import pytest
from pydantic import ValidationError

from tests.gateway.conftest import Running, http_client
from tests.gateway.running import running_gateways
from tests.scripted_server import SESSION_ID, ScriptedServer, refuse
from wxauth_gateway.settings import GatewaySettings

OURS = "https://www.example.com"
ALSO_OURS = "http://localhost:5173"
BEARER = {"Authorization": f"Bearer {SESSION_ID}"}
NOT_OURS = [
    "https://evil.example",
    "http://www.example.com",
    "https://www.example.com:8443",
    "https://www.example.com.evil.example",
    "https://evil-www.example.com",
    "https://WWW.example.com",
    "https://www.example.com/",
    "null",
    "*",
    "",
]


@pytest.fixture(scope="module")
def address(running: Running, server_loop: asyncio.AbstractEventLoop) -> Iterator[tuple[str, int]]:
    settings = GatewaySettings(server=running.server.address, cors_origins=(OURS, ALSO_OURS))
    with running_gateways([settings], server_loop) as [address]:
        yield address


@pytest.fixture
def http(address: tuple[str, int], server: ScriptedServer) -> Iterator[httpx.Client]:
    """Talks to a gateway that two origins may call."""
    with http_client(address) as client:
        yield client


def cors(answer: httpx.Response) -> dict[str, str]:
    return {
        name: value
        for name, value in answer.headers.items()
        if name.startswith("access-control-") or name == "vary"
    }


def preflight(http: httpx.Client, origin: str, path: str = "/login") -> httpx.Response:
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    return http.options(path, headers=headers)


@pytest.mark.parametrize("origin", [OURS, ALSO_OURS])
def test_a_preflight(
    http: httpx.Client, server: ScriptedServer, caplog: pytest.LogCaptureFixture, origin: str
) -> None:
    with caplog.at_level(logging.INFO):
        answer = preflight(http, origin)
        http.get("/healthz")  # a line is written just after its answer, before the next one
    assert (answer.status_code, answer.content) == (204, b"")
    assert cors(answer) == {
        "access-control-allow-origin": origin,
        "access-control-allow-methods": "GET, POST",
        "access-control-allow-headers": "authorization, content-type",
        "access-control-max-age": "600",
        "vary": "Origin",
    }
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Strict-Transport-Security" in answer.headers
    lines = [record.getMessage() for record in caplog.records if record.name == "wxauth.gateway"]
    assert lines[0].startswith("OPTIONS - 204 ")
    assert server.asked == []


@pytest.mark.parametrize("origin", NOT_OURS)
def test_of_another_origin(http: httpx.Client, origin: str) -> None:
    """Served like any other client, and nothing for a browser to go by."""
    answer = preflight(http, origin)
    assert (answer.status_code, cors(answer)) == (405, {"vary": "Origin"})
    answer = http.get("/session", headers=BEARER | {"Origin": origin})
    assert (answer.status_code, cors(answer)) == (200, {"vary": "Origin"})


def test_two_origins_are_none(http: httpx.Client) -> None:
    headers = [("Origin", OURS), ("Origin", ALSO_OURS)]
    assert cors(http.get("/healthz", headers=headers)) == {"vary": "Origin"}


def test_no_origin(http: httpx.Client) -> None:
    assert cors(http.get("/healthz")) == {"vary": "Origin"}
    assert http.options("/login").status_code == 405


def test_on_errors_too(http: httpx.Client, server: ScriptedServer) -> None:
    server.answers["ValidateSession"] = refuse("STORE_UNAVAILABLE", "UNAVAILABLE")
    origin = {"Origin": OURS}
    json = {"Content-Type": "application/json"} | origin
    answers = {
        400: http.post("/login", content=b"x", headers=json),
        401: http.get("/session", headers=origin),
        404: http.get("/nothing", headers=origin),
        405: http.get("/login", headers=origin),
        413: http.post("/login", content=b" " * 9_000, headers=json),
        415: http.post("/login", content=b"x", headers=origin),
        431: http.get("/healthz", headers=origin | {"X": "y" * 9_000}),
        503: http.get("/session", headers=origin | BEARER),
    }
    for status, answer in answers.items():
        assert answer.status_code == status
        assert cors(answer) == {"access-control-allow-origin": OURS, "vary": "Origin"}


def test_off_by_default(running: Running) -> None:
    with http_client(running.address) as http:
        answer = preflight(http, OURS)
        assert (answer.status_code, cors(answer)) == (405, {})
        assert cors(http.get("/healthz", headers={"Origin": OURS})) == {}


@pytest.mark.parametrize(
    "origin",
    [
        "*",
        "null",
        "www.example.com",
        "https://*.example.com",
        "https://www.example.com/",
        "https://www.example.com/path",
        "https://WWW.example.com",
        "https://user@www.example.com",
        "https://www.example.com:443",
        "http://www.example.com:80",
        "https://www.example.com:0",
        "https://www.example.com:65536",
        "https://www..example.com",
        "wss://www.example.com",
        "https://",
        "https://a.example,https://b.example",
        "https://www.example.com\n",
    ],
)
def test_origins_that_browsers_never_send(origin: str) -> None:
    with pytest.raises(ValidationError, match=r"must be an origin|leave this port out"):
        GatewaySettings(cors_origins=(origin,))


@pytest.mark.parametrize(
    "origin", [OURS, ALSO_OURS, "https://[2001:db8::1]:8443", "http://www.example.com:443"]
)
def test_origins_that_browsers_send(origin: str) -> None:
    assert GatewaySettings(cors_origins=(origin,)).cors_origins == (origin,)
