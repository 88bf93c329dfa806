"""What clients say about themselves in headers reaches no route."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator

import httpx
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from tests.gateway.conftest import http_client
from wxauth_gateway import inbound_headers
from wxauth_gateway.cross_origin import CrossOrigin
from wxauth_gateway.edge import Edge
from wxauth_gateway.http_server import BoundedHttp
from wxauth_gateway.listening import Server

TAKEN = [
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "X-Forwarded-Host",
    "X-Forwarded-User",
    "x-FORWARDED-anything",
    "Forwarded",
    "X-Real-IP",
    "X-User-Id",
    "X-Internal-Admin",
    "X-Wxauth-Account-Id",
    "X-Wxauth-Username",
    "grpc-timeout",
    "grpc-trace-bin",
    "X_User_Id",
    "X_Forwarded_For",
    "content_length",
    "X-Some_Thing",
    "_",
]
LEFT = ["Authorization", "User-Agent", "Referer", "X-Request-Id", "X-Forward", "Forwarded-By"]


async def echo(scope: Scope, _receive: Receive, send: Send) -> None:
    """An application that answers the headers it sees."""
    names = [name.decode("ascii") for name, _ in scope["headers"]]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps(names).encode()})


@pytest.fixture(scope="module")
def http(server_loop: asyncio.AbstractEventLoop) -> Iterator[httpx.Client]:
    config = uvicorn.Config(
        Edge(echo, {}, CrossOrigin(())), http=BoundedHttp, lifespan="off", log_config=None
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Server(config)
        serving = asyncio.run_coroutine_threadsafe(server.serve([listener]), server_loop)
        with http_client(listener.getsockname()) as client:
            yield client
        server.should_exit = True
        serving.result(10)


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize("name", TAKEN)
def test_taken_away(http: httpx.Client, method: str, name: str) -> None:
    seen = http.request(method, "/", headers=[(name, "1"), ("X-Request-Id", "1"), (name, "2")])
    assert name.lower() not in seen.json()
    assert "x-request-id" in seen.json()


@pytest.mark.parametrize("name", LEFT)
def test_left(http: httpx.Client, name: str) -> None:
    assert http.get("/", headers={name: "1"}).json().count(name.lower()) == 1


def test_forwarded_for_is_kept_in_its_order() -> None:
    lines = [b"192.0.2.1", b"192.0.2.2, 192.0.2.3"]
    scope = {"headers": [(b"x-forwarded-for", line) for line in lines] + [(b"x_user", b"1")]}
    inbound_headers.strip(scope)
    assert scope["headers"] == []
    assert inbound_headers.forwarded_for(scope) == b"192.0.2.1,192.0.2.2, 192.0.2.3"
