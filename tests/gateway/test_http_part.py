"""The gateway as a part of a process that must not outlive it."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import NoReturn

import pytest

from tests.gateway.conftest import Running
from tests.gateway.held_connections import GET, PATIENCE_S
from wxauth_gateway import listening
from wxauth_gateway.serve import uvicorn_config
from wxauth_gateway.settings import GatewaySettings
from wxauth_server.cli.http_part import HttpPart, listen
from wxauth_server.cli.output import CommandFailed


async def _fail() -> None:
    raise LookupError("what stands in the file")


async def serve(
    running: Running,
    during: Callable[[tuple[str, int]], None] = lambda _address: None,
    *,
    failing: bool = False,
    then_stop: bool = False,
) -> None:
    """As the commands do: start, wait for a signal, stop."""
    config = uvicorn_config(GatewaySettings(server=running.server.address))
    if failing:
        config.callback_notify = _fail
        config.timeout_notify = 0
    signal = asyncio.Event()
    with listen("gateway", "127.0.0.1:0") as listener:
        part = HttpPart("gateway", config, listener)
        await part.start()
        try:
            await asyncio.to_thread(during, listener.getsockname())
            if then_stop:
                signal.set()
            async with asyncio.timeout(PATIENCE_S):
                await signal.wait()
        finally:
            await part.stop()


def critical(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.CRITICAL]


def test_a_part_that_fails_ends_what_waits_for_a_signal(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(CommandFailed, match=r"^the gateway ended by itself; the log says why$"):
        asyncio.run(serve(running, failing=True))
    assert critical(caplog) == ["the gateway ended by itself: LookupError"]
    assert "what stands" not in caplog.text


def test_a_part_that_accepts_no_more_connections_is_one_that_fails(
    running: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_server: listening.Server, connection: socket.socket) -> NoReturn:
        connection.close()
        raise LookupError("what stands in the file")

    def connect(address: tuple[str, int]) -> None:
        with socket.create_connection(address, timeout=PATIENCE_S) as connection:
            assert connection.recv(1) == b""

    monkeypatch.setattr(listening.Server, "take", fail)
    with pytest.raises(CommandFailed, match=r"^the gateway ended by itself"):
        asyncio.run(serve(running, connect))
    assert critical(caplog) == [
        "no more connections can be accepted: LookupError",
        "the gateway ended by itself: it stopped",
    ]


def test_a_part_that_is_stopped_says_nothing(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    def ask(address: tuple[str, int]) -> None:
        with socket.create_connection(address, timeout=PATIENCE_S) as connection:
            connection.sendall(GET)
            assert connection.recv(1) == b"H"

    asyncio.run(serve(running, ask, then_stop=True))
    assert critical(caplog) == []
