"""How long a call may take, how many are on the wire, and what closing does. Both twins."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from tests.contract.client_twins import Ask, asker
from tests.scripted_gate import Gate
from tests.scripted_server import ScriptedServer, scripted_server
from wxauth_client import (
    AsyncAuthClient,
    AuthClient,
    DeadlineExceeded,
    ServerUnreachable,
)


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


@pytest.mark.parametrize(
    ("method", "rpc", "default_s"),
    [
        ("validate", "ValidateSession", 0.5),
        ("unbind", "Unbind", 8.0),
        ("logout", "Logout", 2.0),
    ],
)
def test_deadlines(
    ask: Ask, server: ScriptedServer, method: str, rpc: str, default_s: float
) -> None:
    answer = server.answers[rpc]
    left: list[float] = []

    def measuring(request: Any, context: grpc.ServicerContext) -> Any:
        left.append(context.time_remaining())
        return answer(request, context)

    server.answers[rpc] = measuring
    ask(method, "x")
    # A caller's own deadline counts, longer than the default too.
    ask(method, "x", timeout_s=20)
    assert 0 < left[0] <= default_s
    assert 10 < left[1] <= 20


def test_a_deadline_that_passes(ask: Ask, server: ScriptedServer) -> None:
    released = threading.Event()
    answer = server.answers["Login"]

    def held(request: Any, context: grpc.ServicerContext) -> Any:
        released.wait(10)
        return answer(request, context)

    server.answers["Login"] = held
    with pytest.raises(DeadlineExceeded):
        ask("login", "x", timeout_s=0.05)
    released.set()


@pytest.mark.parametrize("kind", ["sync", "aio"])
def test_nothing_listens(kind: str, server_loop: asyncio.AbstractEventLoop) -> None:
    with pytest.raises(ServerUnreachable):
        asker(kind, "127.0.0.1:1", server_loop)("login", "x", timeout_s=1)


def test_sync_calls_wait_for_their_turn(server: ScriptedServer) -> None:
    gate = Gate(server.answers["Logout"])
    server.answers["Logout"] = gate
    with AuthClient(server.address, max_in_flight=2) as client, ThreadPoolExecutor(5) as threads:
        calls = [threads.submit(client.logout, "x", timeout_s=10) for _ in range(2)]
        gate.wait_inside(2)
        with pytest.raises(DeadlineExceeded, match="nothing was sent"):
            client.logout("x", timeout_s=0.02)
        calls += [threads.submit(client.logout, "x", timeout_s=10) for _ in range(3)]
        gate.open()
        for call in calls:
            call.result()
    assert gate.most_inside == 2
    assert len(server.requests("Logout")) == 5


async def _wait_for_turns(server: ScriptedServer, gate: Gate) -> None:
    async with AsyncAuthClient(server.address, max_in_flight=2) as client:
        calls = [asyncio.create_task(client.logout("x", timeout_s=10)) for _ in range(2)]
        await asyncio.to_thread(gate.wait_inside, 2)
        with pytest.raises(DeadlineExceeded, match="nothing was sent"):
            await client.logout("x", timeout_s=0.02)
        calls += [asyncio.create_task(client.logout("x", timeout_s=10)) for _ in range(3)]
        gate.open()
        await asyncio.gather(*calls)


def test_aio_calls_wait_for_their_turn(
    server: ScriptedServer, server_loop: asyncio.AbstractEventLoop
) -> None:
    gate = Gate(server.answers["Logout"])
    server.answers["Logout"] = gate
    asyncio.run_coroutine_threadsafe(_wait_for_turns(server, gate), server_loop).result(30)
    assert gate.most_inside == 2
    assert len(server.requests("Logout")) == 5


def test_cancelling_a_task_cancels_and_closing_the_client_does_not(
    server: ScriptedServer, server_loop: asyncio.AbstractEventLoop
) -> None:
    gate = Gate(server.answers["Login"])
    server.answers["Login"] = gate

    async def both() -> None:
        client = AsyncAuthClient(server.address)
        first = asyncio.create_task(client.login("x"))
        second = asyncio.create_task(client.login("x"))
        await asyncio.to_thread(gate.wait_inside, 2)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        await client.close()
        with pytest.raises(ServerUnreachable):
            await second

    asyncio.run_coroutine_threadsafe(both(), server_loop).result(30)
    gate.open()
