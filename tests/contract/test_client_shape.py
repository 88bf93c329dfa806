"""The client as such: ready or not, twins of one shape, its own limits."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator

import pytest

from tests.contract.client_twins import Ask, asker, one_client
from tests.scripted_server import ScriptedServer, scripted_server
from wxauth_client import (
    AsyncAuthClient,
    AuthClient,
    RequestInvalid,
    ServerUnreachable,
)
from wxauth_client.aio_connection import AsyncLink
from wxauth_client.connection import Link


@pytest.fixture(scope="module")
def running() -> Iterator[ScriptedServer]:
    with scripted_server() as server:
        yield server


@pytest.fixture
def server(running: ScriptedServer) -> ScriptedServer:
    running.reset()
    return running


@pytest.fixture(params=["sync", "aio"])
def ask(
    request: pytest.FixtureRequest, server: ScriptedServer, server_loop: asyncio.AbstractEventLoop
) -> Ask:
    return asker(request.param, server.address, server_loop)


def test_ready(ask: Ask, server: ScriptedServer) -> None:
    assert ask("ready", 5) is True
    server.health.serve(False)
    assert ask("ready", 5) is False


@pytest.mark.parametrize("kind", ["sync", "aio"])
def test_not_ready_when_nothing_listens(kind: str, server_loop: asyncio.AbstractEventLoop) -> None:
    assert asker(kind, "127.0.0.1:1", server_loop)("ready") is False


@pytest.mark.parametrize("kind", ["sync", "aio"])
def test_not_ready_when_closed(
    kind: str, server: ScriptedServer, server_loop: asyncio.AbstractEventLoop
) -> None:
    with one_client(kind, server.address, server_loop) as ask:
        assert ask("ready", 5) is True
        ask("close")
        assert ask("ready", 5) is False


def test_not_ready_when_closed_between_its_two_questions(
    server: ScriptedServer, server_loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing outside a client can choose that moment."""
    serves, aio_serves = Link.serves, AsyncLink.serves
    client = AuthClient(server.address)

    def serves_and_closes(link: Link, timeout_s: float) -> bool:
        said = serves(link, timeout_s)
        client.close()
        return said

    monkeypatch.setattr(Link, "serves", serves_and_closes)
    assert client.ready(5) is False

    async def closed() -> bool:
        client = AsyncAuthClient(server.address)

        async def serves_and_closes(link: AsyncLink, timeout_s: float) -> bool:
            said = await aio_serves(link, timeout_s)
            await client.close()
            return said

        monkeypatch.setattr(AsyncLink, "serves", serves_and_closes)
        return await client.ready(5)

    assert asyncio.run_coroutine_threadsafe(closed(), server_loop).result(30) is False
    assert server.requests("ValidateSession") == []


def test_a_server_that_is_leaving_gets_no_calls(ask: Ask, server: ScriptedServer) -> None:
    server.health.serve(False)
    with pytest.raises(ServerUnreachable):
        ask("login", "x", timeout_s=1)
    assert server.requests("Login") == []


def test_the_twins_have_the_same_methods() -> None:
    def shape(kind: type) -> dict[str, str]:
        return {
            name: str(inspect.signature(method)).replace(kind.__name__, "")
            for name, method in inspect.getmembers(kind, inspect.isfunction)
            if not name.startswith("_")
        }

    assert shape(AuthClient) == shape(AsyncAuthClient)
    assert inspect.signature(AuthClient) == inspect.signature(AsyncAuthClient)


def test_an_async_client_needs_a_running_loop() -> None:
    with pytest.raises(RuntimeError):
        AsyncAuthClient()


def test_a_request_that_the_server_would_not_read_is_not_sent() -> None:
    with AuthClient("127.0.0.1:9") as client, pytest.raises(RequestInvalid) as refusal:
        client.validate("x" * 100_000)
    [violation] = refusal.value.violations
    assert violation.problem == "over 65536 bytes in all"
