"""All attempts of a login share one deadline, and no slot while they wait."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import grpc
import pytest

from tests.contract.client_twins import asker
from tests.scripted_server import (
    Answer,
    ScriptedServer,
    in_turn,
    refuse,
    scripted_server,
)
from wxauth_client import (
    AsyncAuthClient,
    AuthClient,
    Overloaded,
    ServerUnreachable,
    retrying,
)
from wxauth_client.retrying import LOGIN

# Logs in with a client of either kind.
LogIn = Callable[..., Any]


@pytest.fixture(scope="module")
def running() -> Iterator[ScriptedServer]:
    with scripted_server() as server:
        yield server


@pytest.fixture
def server(running: ScriptedServer) -> ScriptedServer:
    running.reset()
    return running


@pytest.fixture(params=["sync", "aio"])
def log_in(
    request: pytest.FixtureRequest, server: ScriptedServer, server_loop: asyncio.AbstractEventLoop
) -> LogIn:
    def ask(address: str = server.address, **kwargs: Any) -> Any:
        return asker(request.param, address, server_loop)("login", "code", **kwargs)

    return ask


def test_a_wait_that_does_not_fit_is_not_begun(log_in: LogIn, server: ScriptedServer) -> None:
    server.answers["Login"] = refuse("OVERLOADED", "RESOURCE_EXHAUSTED", retry_after_s=60)
    started = time.monotonic()
    with pytest.raises(Overloaded) as caught:
        log_in()
    assert caught.value.retry_after_s == 60
    assert time.monotonic() - started < 5
    assert len(server.requests("Login")) == 1


def test_the_server_is_given_the_time_it_asks_for(log_in: LogIn, server: ScriptedServer) -> None:
    asked: list[float] = []
    refusal = refuse("STORE_UNAVAILABLE", "UNAVAILABLE", retry_after_s=0.3)
    good = server.answers["Login"]

    def timed(answer: Answer) -> Answer:
        def answer_at(request: Any, context: grpc.ServicerContext) -> Any:
            asked.append(time.monotonic())
            return answer(request, context)

        return answer_at

    server.answers["Login"] = in_turn(timed(refusal), timed(good))
    log_in()
    assert asked[1] - asked[0] >= 0.3


def test_all_attempts_share_one_deadline(
    log_in: LogIn, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each attempt's deadline, as the server got it, is no later than the call's."""
    monkeypatch.setattr(retrying, "LOGIN", replace(LOGIN, first_delay_s=0.5))
    ends: list[float] = []

    def overloaded(request: Any, context: grpc.ServicerContext) -> Any:
        ends.append(time.monotonic() + context.time_remaining())
        return refuse("OVERLOADED", "RESOURCE_EXHAUSTED")(request, context)

    server.answers["Login"] = overloaded
    started = time.monotonic()
    with pytest.raises(Overloaded):
        log_in(timeout_s=1.5)
    took_s = time.monotonic() - started
    assert len(ends) > 1
    # 0.3 s for a slow machine between sending and receiving, from when on the
    # server counts. A second attempt with a deadline of its own would be 0.5 s late.
    assert max(ends) <= started + 1.5 + 0.3
    assert took_s <= 1.5 + 0.3


def test_an_attempt_gets_5_s_of_a_longer_deadline(log_in: LogIn, server: ScriptedServer) -> None:
    left: list[float] = []
    good = server.answers["Login"]

    def measuring(request: Any, context: grpc.ServicerContext) -> Any:
        left.append(context.time_remaining())
        return good(request, context)

    server.answers["Login"] = measuring
    log_in()
    log_in(timeout_s=20)
    log_in(timeout_s=2)
    assert 4 < left[0] <= 5
    assert 4 < left[1] <= 5
    assert 1 < left[2] <= 2


def refuse_and_tell(server: ScriptedServer, retry_after_s: float) -> threading.Event:
    """Login is OVERLOADED for so long; the event is set when the first one is told so."""
    told = threading.Event()
    refusal = refuse("OVERLOADED", "RESOURCE_EXHAUSTED", retry_after_s=retry_after_s)

    def overloaded(request: Any, context: grpc.ServicerContext) -> Any:
        context.add_callback(told.set)
        return refusal(request, context)

    server.answers["Login"] = overloaded
    return told


def test_a_sync_login_holds_no_slot_between_attempts(server: ScriptedServer) -> None:
    told = refuse_and_tell(server, 30)
    with AuthClient(server.address, max_in_flight=1) as client, ThreadPoolExecutor(1) as thread:
        login = thread.submit(client.login, "code", timeout_s=120)
        assert told.wait(10)
        client.logout("x", timeout_s=10)
        assert not login.done()
        client.close()  # which ends the waiting, too
        with pytest.raises(Overloaded):
            login.result(10)
    assert len(server.requests("Login")) == 1


def test_an_aio_login_holds_no_slot_between_attempts(
    server: ScriptedServer, server_loop: asyncio.AbstractEventLoop
) -> None:
    told = refuse_and_tell(server, 30)

    async def both() -> None:
        client = AsyncAuthClient(server.address, max_in_flight=1)
        login = asyncio.create_task(client.login("code", timeout_s=120))
        assert await asyncio.to_thread(told.wait, 10)
        await client.logout("x", timeout_s=10)
        assert not login.done()
        await client.close()
        with pytest.raises(Overloaded):
            async with asyncio.timeout(10):
                await login

    asyncio.run_coroutine_threadsafe(both(), server_loop).result(30)
    assert len(server.requests("Login")) == 1


def test_cancelling_stops_the_retries(
    server: ScriptedServer, server_loop: asyncio.AbstractEventLoop
) -> None:
    told = refuse_and_tell(server, 30)

    async def cancel() -> None:
        async with AsyncAuthClient(server.address) as client:
            login = asyncio.create_task(client.login("code", timeout_s=120))
            assert await asyncio.to_thread(told.wait, 10)
            await client.logout("x", timeout_s=10)  # by now the login waits
            login.cancel()
            with pytest.raises(asyncio.CancelledError):
                await login
            assert login.cancelled()

    asyncio.run_coroutine_threadsafe(cancel(), server_loop).result(30)
    assert len(server.requests("Login")) == 1


def test_a_closed_client_sends_nothing(
    server: ScriptedServer, server_loop: asyncio.AbstractEventLoop
) -> None:
    client = AuthClient(server.address)
    client.close()
    with pytest.raises(ServerUnreachable, match="closed"):
        client.login("code")

    async def closed() -> None:
        client = AsyncAuthClient(server.address)
        await client.close()
        with pytest.raises(ServerUnreachable, match="closed"):
            await client.login("code")

    asyncio.run_coroutine_threadsafe(closed(), server_loop).result(30)
    assert server.asked == []
