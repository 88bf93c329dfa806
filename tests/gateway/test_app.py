"""How the gateway is put together: its settings, its client, its borders."""

from __future__ import annotations

import ast
import asyncio
import logging
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from pydantic import ValidationError

import wxauth_gateway
from tests.gateway.conftest import Running
from tests.scripted_server import SESSION_ID
from wxauth_client import AsyncAuthClient
from wxauth_gateway.app import create_app
from wxauth_gateway.serve import uvicorn_config
from wxauth_gateway.settings import GatewaySettings


@pytest.mark.parametrize(
    ("listen", "host", "port"),
    [("127.0.0.1:8080", "127.0.0.1", 8080), ("[::1]:0", "::1", 0), ("localhost:1", "localhost", 1)],
)
def test_listen(listen: str, host: str, port: int) -> None:
    config = uvicorn_config(GatewaySettings(listen=listen))
    assert (config.host, config.port) == (host, port)


@pytest.mark.parametrize(
    "fields",
    [
        {"listen": "8080"},
        {"listen": ":8080"},
        {"listen": "host:"},
        {"listen": "host:x"},
        {"listen": "host:70000"},
        {"listen": "::1:8080"},
        {"server": ""},
        {"trusted_hops": -1},
        {"trusted_hops": 11},
        {"unknown": 1},
    ],
    ids=str,
)
def test_settings_that_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        GatewaySettings.model_validate(fields)


def test_a_given_client_stays_the_givers(
    running: Running, server_loop: asyncio.AbstractEventLoop
) -> None:
    async def ask() -> None:
        async with AsyncAuthClient(running.server.address) as client:
            app = create_app(GatewaySettings(), client)
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://x") as http:
                answer = await http.get("/readyz")
                assert answer.status_code == 200
            assert await client.ready(5)

    running.server.reset()
    asyncio.run_coroutine_threadsafe(ask(), server_loop).result(20)


def test_without_its_lifespan_it_says_what_is_missing(caplog: pytest.LogCaptureFixture) -> None:
    async def ask() -> int:
        transport = httpx.ASGITransport(create_app(GatewaySettings()))
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as http:
            headers = {"Authorization": f"Bearer {SESSION_ID}"}
            return (await http.get("/session", headers=headers)).status_code

    with caplog.at_level(logging.ERROR):
        assert asyncio.run(ask()) == 500
    assert "lifespan" in caplog.text


def test_the_gateway_knows_the_client_only() -> None:
    folder = Path(wxauth_gateway.__file__).parent
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            for name in names:
                assert name.split(".")[0] not in {"wxauth", "wxauth_server", "grpc", "google"}, path


def test_settings_need_no_web_framework() -> None:
    """The configuration file is read by commands that run no gateway."""
    program = (
        "import sys, wxauth_gateway.settings\n"
        "heavy = {'fastapi', 'starlette', 'grpc', 'uvicorn'} & set(sys.modules)\n"
        "sys.exit(' '.join(sorted(heavy)) or 0)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
