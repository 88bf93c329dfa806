"""A login that is THROTTLED for a short time comes again; right logins at once all end well."""

from __future__ import annotations

import asyncio
import heapq
import random
import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import grpc
import pytest

from tests.contract.client_twins import Ask, asker
from tests.scripted_server import (
    SESSION_ID,
    Answer,
    ScriptedServer,
    in_turn,
    refuse,
    scripted_server,
)
from wxauth_client import AsyncAuthClient, AuthClient, Overloaded, Throttled, retrying
from wxauth_client.account_calls import LOGIN_TIMEOUT_S
from wxauth_client.retrying import LOGIN, MIN_ATTEMPT_S, next_delay_s

LOGINS = 20


@pytest.fixture(scope="module")
def running() -> Iterator[ScriptedServer]:
    with scripted_server(workers=LOGINS + 4) as server:
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


def throttled(retry_after_s: float) -> Answer:
    return refuse("THROTTLED", "RESOURCE_EXHAUSTED", retry_after_s=retry_after_s)


def test_it_waits_as_long_as_it_is_told(ask: Ask, server: ScriptedServer) -> None:
    server.answers["Login"] = in_turn(throttled(0.4), server.answers["Login"])
    started = time.monotonic()
    assert ask("login", "code").session_id == SESSION_ID
    assert time.monotonic() - started >= 0.4
    first, second = server.requests("Login")
    assert first == second
    assert first.request_id


def test_it_comes_six_times(
    ask: Ask, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrying, "LOGIN", replace(LOGIN, first_delay_s=0.001))
    server.answers["Login"] = throttled(0.01)
    with pytest.raises(Throttled) as caught:
        ask("login", "code", timeout_s=20)
    assert caught.value.retry_after_s == 0.01
    assert len(server.requests("Login")) == 6


@pytest.mark.parametrize("wait_s", [900.0, 7.95])
def test_a_wait_that_does_not_fit_is_told_at_once(
    ask: Ask, server: ScriptedServer, wait_s: float
) -> None:
    server.answers["Login"] = throttled(wait_s)
    started = time.monotonic()
    with pytest.raises(Throttled) as caught:
        ask("login", "code")
    assert caught.value.retry_after_s == wait_s
    assert time.monotonic() - started < 5
    assert len(server.requests("Login")) == 1


def test_a_server_that_then_is_overloaded_is_left_alone(ask: Ask, server: ScriptedServer) -> None:
    server.answers["Login"] = in_turn(
        *[throttled(0.01)] * 3, refuse("OVERLOADED", "RESOURCE_EXHAUSTED")
    )
    with pytest.raises(Overloaded):
        ask("login", "code", timeout_s=20)
    assert len(server.requests("Login")) == 4


@pytest.mark.parametrize("method", ["unbind", "delete_account"])
def test_what_spends_its_code_is_sent_once(ask: Ask, server: ScriptedServer, method: str) -> None:
    server.answers["Unbind"] = server.answers["DeleteAccount"] = throttled(0.01)
    with pytest.raises(Throttled):
        ask(method, SESSION_ID, code="x")
    assert len(server.asked) == 1


# --- Twenty at once ---------------------------------------------------------------


class Reservations:
    """The server's rule: few attempts undecided at a time; the others wait, then are THROTTLED."""

    def __init__(self, good: Answer, *, undecided: int, wait_s: float, verify_s: float) -> None:
        self._good = good
        self._free = threading.BoundedSemaphore(undecided)
        self._wait_s = wait_s
        self._verify_s = verify_s
        self.throttled = 0

    def __call__(self, request: Any, context: grpc.ServicerContext) -> Any:
        if not self._free.acquire(timeout=self._wait_s):
            self.throttled += 1
            return throttled(self._wait_s / 2)(request, context)
        try:
            threading.Event().wait(self._verify_s)  # a password hash takes that long
            return self._good(request, context)
        finally:
            self._free.release()


@pytest.fixture
def reservations(server: ScriptedServer) -> Reservations:
    """At 0.3 of the server's waiting times."""
    rule = Reservations(server.answers["Login"], undecided=2, wait_s=0.6, verify_s=0.1)
    server.answers["Login"] = rule
    return rule


def log_in_at_once(kind: str, address: str, loop: asyncio.AbstractEventLoop) -> list[Any]:
    """What 20 logins give or raise."""

    async def all_aio() -> list[Any]:
        async with AsyncAuthClient(address) as client:
            logins = (client.login(f"code-{number}") for number in range(LOGINS))
            return await asyncio.gather(*logins, return_exceptions=True)

    if kind == "aio":
        return asyncio.run_coroutine_threadsafe(all_aio(), loop).result(30)
    with AuthClient(address) as client, ThreadPoolExecutor(LOGINS) as threads:
        futures = [threads.submit(client.login, f"code-{number}") for number in range(LOGINS)]
        return [future.exception() or future.result() for future in futures]


@pytest.mark.parametrize("kind", ["sync", "aio"])
def test_twenty_right_logins_at_once(
    kind: str,
    server: ScriptedServer,
    reservations: Reservations,
    server_loop: asyncio.AbstractEventLoop,
) -> None:
    ended = log_in_at_once(kind, server.address, server_loop)
    assert [login.session_id for login in ended] == [SESSION_ID] * LOGINS
    assert reservations.throttled


def test_without_retries_some_of_them_fail(
    server: ScriptedServer,
    reservations: Reservations,
    server_loop: asyncio.AbstractEventLoop,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The negative control."""
    after = {kind: times for kind, times in LOGIN.after.items() if kind is not Throttled}
    monkeypatch.setattr(retrying, "LOGIN", replace(LOGIN, after=after))
    ended = log_in_at_once("sync", server.address, server_loop)
    failed = [login for login in ended if isinstance(login, Throttled)]
    assert failed
    assert len(failed) == reservations.throttled


def last_ends_after_s(undecided: int, verify_s: float, chance: random.Random) -> float | None:
    """The same rule with the server's own figures, in simulated time; None if a login fails."""
    arrivals = [(0.0, 0, number) for number in range(LOGINS)]  # when, attempts before, whose
    free_at = [0.0] * undecided
    served: deque[float] = deque()
    while arrivals:
        now, attempts, number = heapq.heappop(arrivals)
        turn = max(now, min(free_at))
        if turn <= now + 2.0:
            free_at[free_at.index(min(free_at))] = turn + verify_s
            served.append(turn + verify_s)
            continue
        now += 2.0
        failure = Throttled(retry_after_s=1.0)
        delay_s = next_delay_s(LOGIN, attempts + 1, failure, LOGIN_TIMEOUT_S - now, chance.random())
        if delay_s is None:
            return None
        heapq.heappush(arrivals, (now + delay_s, attempts + 1, number))
    return max(served)


@pytest.mark.parametrize(("undecided", "verify_s"), [(1, 0.25), (2, 0.25), (2, 0.5), (5, 1.0)])
def test_they_end_within_a_logins_deadline(undecided: int, verify_s: float) -> None:
    """At 4 passwords a second and more: a bcrypt of cost 12 takes 0.25 s on a slow core."""
    chance = random.Random(20)
    for _ in range(500):
        last_s = last_ends_after_s(undecided, verify_s, chance)
        assert last_s is not None
        assert last_s <= LOGIN_TIMEOUT_S - MIN_ATTEMPT_S


def test_a_server_that_takes_longer_than_that_cannot_serve_them_all() -> None:
    """The control of the simulation: 20 of 0.5 s are 10 s."""
    assert last_ends_after_s(1, 0.5, random.Random(20)) is None
