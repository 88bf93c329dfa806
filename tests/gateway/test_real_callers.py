"""A gateway that a real server lets in, or does not: never the user's fault."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from tests.canary import CANARY
from tests.certificates import Authority
from tests.gateway.conftest import http_client
from tests.gateway.running import running_gateways, wait_for
from tests.gateway.test_security_headers import OF_THE_SERVER, ROUTES
from tests.running_server import RunningServer, running_server
from tests.sandbox_server import RunningSandbox
from wxauth_client.credentials import Credentials
from wxauth_gateway.settings import GatewaySettings
from wxauth_server.callers.caller import Caller, CallerBook, CallerToken, Role
from wxauth_server.callers.callers_file import changing_callers
from wxauth_server.callers.tokens import CALLER_PREFIX, digest_of, new_token

PASSWORD = "correct horse battery"
BEARER = {"Authorization": "Bearer wxs_" + "a" * 49}


@dataclass(frozen=True)
class Known:
    """The callers that the server knows, and the authority of all certificates."""

    server: RunningServer
    authority: Authority
    gateway: str
    service: str


@pytest.fixture
def known(
    tmp_path: Path, sandbox: RunningSandbox, server_loop: asyncio.AbstractEventLoop
) -> Iterator[Known]:
    """A server with TLS that asks everybody for a token."""
    (tmp_path / "data").mkdir()
    authority = Authority(tmp_path)
    issued = authority.issue("server", "127.0.0.1")
    tokens = {role: CANARY.keep(new_token(CALLER_PREFIX)) for role in (Role.GATEWAY, Role.SERVICE)}
    file = tmp_path / "data" / "callers.json"
    with changing_callers(file) as callers:
        callers.replace(
            CallerBook(
                Caller(str(role), frozenset({role}), 1, tokens=(CallerToken(digest_of(token), 1),))
                for role, token in tokens.items()
            )
        )
    with running_server(
        tmp_path / "data",
        sandbox,
        server_loop,
        credentials=grpc.ssl_channel_credentials(authority.ca.read_bytes()),
        grpc={
            "require_callers": True,
            "tls": {"certificate_file": issued.certificate, "key_file": issued.key},
        },
        callers={"file": file},
    ) as server:
        server.add_account("zhangsan", PASSWORD)
        yield Known(server, authority, tokens[Role.GATEWAY], tokens[Role.SERVICE])


@contextmanager
def gateway(known: Known, loop: asyncio.AbstractEventLoop, **proof: Any) -> Iterator[httpx.Client]:
    credentials = Credentials(ca_file=known.authority.ca, **proof)
    settings = GatewaySettings(server=known.server.address, credentials=credentials)
    with running_gateways([settings], loop) as [address], http_client(address) as http:
        yield http


def asked(http: httpx.Client, path: str) -> httpx.Response:
    body = ROUTES[path]
    if body is None:
        return http.get(path, headers=BEARER)
    return http.post(path, content=body, headers=BEARER | {"Content-Type": "application/json"})


def test_with_a_token_in_a_file(
    known: Known, server_loop: asyncio.AbstractEventLoop, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.touch(0o600)
    file.write_text(known.gateway + "\n")
    with gateway(known, server_loop, token_file=file) as http:
        assert http.get("/readyz").status_code == 200
        login = http.post(
            "/login",
            json={
                "code": known.server.code("ann"),
                "username": "zhangsan",
                "password": PASSWORD,
            },
        )
        bearer = {"Authorization": f"Bearer {CANARY.keep(login.json()['sessionId'])}"}
        assert http.get("/session", headers=bearer).json()["account"]["username"] == "zhangsan"
        assert asked(http, "/session").status_code == 401  # the user's own fault


@pytest.mark.parametrize("who", ["nobody", "stranger", "service"])
def test_who_is_not_let_in_is_no_reason_to_log_in_again(
    known: Known,
    server_loop: asyncio.AbstractEventLoop,
    caplog: pytest.LogCaptureFixture,
    who: str,
) -> None:
    stranger = CANARY.keep(new_token(CALLER_PREFIX))
    tokens = {"nobody": "", "stranger": stranger, "service": known.service}
    reason = "CALLER_FORBIDDEN" if who == "service" else "CALLER_UNAUTHENTICATED"
    # A service may ask whose session it is; that is another reason to be refused for.
    paths = [path for path in (*OF_THE_SERVER, "/login") if who != "service" or path != "/session"]
    with gateway(known, server_loop, token=tokens[who]) as http:
        for path in paths:
            answer = asked(http, path)
            error = answer.json()["error"]
            assert (answer.status_code, error["reason"]) == (503, reason), path
            assert answer.headers["Retry-After"] == "1"
            assert "WWW-Authenticate" not in answer.headers
        assert http.get("/healthz").status_code == 200
        assert http.get("/readyz").status_code == 503
    told = [record for record in caplog.records if record.name == "wxauth.gateway"]
    # What the client finds out by itself, as of nobody, is told by its own log.
    refused = len(paths) + (who == "service")
    assert len([record for record in told if record.levelno == logging.ERROR]) == refused
    assert all("does not admit this gateway" in record.getMessage() for record in told[:1])


def test_a_server_of_another_authority_is_not_spoken_to(
    known: Known, server_loop: asyncio.AbstractEventLoop, tmp_path: Path
) -> None:
    rogue = Known(known.server, Authority(tmp_path, "rogue"), known.gateway, known.service)
    with gateway(rogue, server_loop, token=known.gateway) as http:
        answer = asked(http, "/session")
        assert (answer.status_code, answer.json()["error"]["reason"]) == (503, "SERVER_UNREACHABLE")
        assert http.get("/readyz").status_code == 503


def test_a_token_that_is_exchanged(
    known: Known, server_loop: asyncio.AbstractEventLoop, tmp_path: Path
) -> None:
    """The gateway follows the file; it is not started again."""
    file = tmp_path / "token"
    file.touch(0o600)
    file.write_text(CANARY.keep(new_token(CALLER_PREFIX)))
    with gateway(known, server_loop, token_file=file) as http:
        assert http.get("/readyz").status_code == 503
        file.write_text(known.gateway)
        wait_for(lambda: http.get("/readyz").status_code == 200)
        assert asked(http, "/session").status_code == 401
