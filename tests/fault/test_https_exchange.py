"""The gateway's certificate is exchanged under load and no request fails.

Promised and proved as for the gRPC server, see test_certificate_exchange.py; over
HTTPS, with clients that keep their connection and clients that connect anew for
every request.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from tests.canary import CANARY
from tests.certificates import Authority
from tests.fault.certificate_changes import (
    Change,
    Setting,
    certificate_first,
    exchange,
    key_first,
)
from tests.fault.steady_load import CALL_TIMEOUT_S, OneCall, SteadyLoad, steady_load
from tests.gateway.running import running_gateways
from tests.running_server import RunningServer
from wxauth_client.certificates import ServerTls
from wxauth_client.credentials import Credentials
from wxauth_gateway import serve
from wxauth_gateway.settings import GatewaySettings

pytestmark = pytest.mark.alone

#: The gateway looks once a second.
EXCHANGES, EXCHANGES_LONG = 6, 20
KEEPING, RECONNECTING = 3, 3


def _get_session(client: httpx.AsyncClient, session_id: str) -> OneCall:
    headers = {"Authorization": f"Bearer {session_id}"}

    async def once() -> str:
        try:
            answer = await client.get("/session", headers=headers)
        except httpx.TransportError as error:
            return type(error).__name__
        return "OK" if answer.status_code == 200 else str(answer.status_code)

    return once


def _get_session_reconnecting(connect: Callable[[], httpx.AsyncClient], session_id: str) -> OneCall:
    async def once() -> str:
        async with connect() as client:
            return await _get_session(client, session_id)()

    return once


async def _under_load(
    authority: Authority,
    port: int,
    session_id: str,
    errors: Callable[[], list[str]],
    change: Change,
) -> SteadyLoad:
    context = ssl.create_default_context(cafile=authority.ca)

    def connect() -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=f"https://127.0.0.1:{port}",
            verify=context,
            trust_env=False,
            timeout=CALL_TIMEOUT_S,
        )

    async with contextlib.AsyncExitStack() as stack:
        clients: dict[str, OneCall] = {}
        for number in range(KEEPING):
            client = await stack.enter_async_context(connect())
            clients[f"keeps {number}"] = _get_session(client, session_id)
        for number in range(RECONNECTING):
            clients[f"reconnects {number}"] = _get_session_reconnecting(connect, session_id)
        load = await stack.enter_async_context(steady_load(clients))
        await change(Setting(authority, port, load, errors, protocol="http/1.1"))
    print(load)
    return load


def _run(
    directory: Path,
    server: RunningServer,
    loop: asyncio.AbstractEventLoop,
    caplog: pytest.LogCaptureFixture,
    change: Change,
) -> tuple[SteadyLoad, list[str]]:
    """What became of the requests, and the errors that were logged."""
    session_id = server.login(code=server.code(server.bound())).session_id
    CANARY.keep(session_id)
    authority = Authority(directory)
    issued = authority.issue("server", "127.0.0.1")
    settings = GatewaySettings(
        server=server.address,
        tls=ServerTls(issued.certificate, issued.key),
        credentials=Credentials(),
    )

    def errors() -> list[str]:
        return [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]

    with running_gateways([settings], loop) as [(_, port)]:
        load = asyncio.run_coroutine_threadsafe(
            _under_load(authority, port, session_id, errors, change), loop
        ).result()
    return load, errors()


@pytest.mark.timeout(240)
def test_no_request_fails_while_certificates_are_exchanged(
    tmp_path: Path,
    long: bool,
    server: RunningServer,
    server_loop: asyncio.AbstractEventLoop,
    caplog: pytest.LogCaptureFixture,
) -> None:
    times = EXCHANGES_LONG if long else EXCHANGES
    load, errors = _run(tmp_path, server, server_loop, caplog, partial(exchange, times=times))
    assert min(load.calls.values()) >= 2 * times
    assert not load.failures
    assert errors == []


@pytest.mark.parametrize("change", [key_first, certificate_first])
def test_a_pair_that_does_not_fit_changes_nothing_but_the_log(
    tmp_path: Path,
    server: RunningServer,
    server_loop: asyncio.AbstractEventLoop,
    caplog: pytest.LogCaptureFixture,
    change: Change,
) -> None:
    load, errors = _run(tmp_path, server, server_loop, caplog, change)
    assert not load.failures
    [error] = errors
    assert "is not the key of the certificate" in error


class _Unchecked:
    """Loads whatever the files hold into the context in use."""

    def __init__(self, tls: ServerTls) -> None:
        self._tls = tls

    def context(self, _config: uvicorn.Config, _default: Callable[[], Any]) -> ssl.SSLContext:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(self._tls.certificate_file, self._tls.key_file)
        return self._context

    async def refresh(self) -> None:
        with contextlib.suppress(ssl.SSLError):
            self._context.load_cert_chain(self._tls.certificate_file, self._tls.key_file)


def test_control_files_that_nobody_checks_fail_requests(
    tmp_path: Path,
    server: RunningServer,
    server_loop: asyncio.AbstractEventLoop,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """OpenSSL drops the old key for a certificate that it does not fit."""
    monkeypatch.setattr(serve, "Https", _Unchecked)
    load, _ = _run(tmp_path, server, server_loop, caplog, certificate_first)
    assert load.failed
