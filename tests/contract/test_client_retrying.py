"""A login is sent again where that is safe, with the same request_id, and never too long."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import grpc
import pytest

from tests.contract.client_twins import asker
from tests.scripted_server import (
    SESSION_ID,
    ScriptedServer,
    fail,
    in_turn,
    refuse,
    scripted_server,
)
from wxauth.v1.error_reason_pb2 import ErrorReason
from wxauth_client import (
    CodeUsed,
    Overloaded,
    ServerUnreachable,
    WxauthError,
    retrying,
)
from wxauth_client.errors import OF_THE_CONTRACT
from wxauth_client.retrying import LOGIN

# Logs in with a client of either kind.
LogIn = Callable[..., Any]

#: error_reason.proto says of each other one that the code is spent or that
#: sending it again changes nothing.
REASONS_RETRIED = {
    "ACCOUNT_SOURCE_UNAVAILABLE": 2,
    "DEADLINE_TOO_SHORT": 4,
    "OVERLOADED": 4,
    "STORE_UNAVAILABLE": 4,
    "THROTTLED": 6,
    "WECHAT_UNAVAILABLE": 4,
}
REASONS = [name.removeprefix("ERROR_REASON_") for name, number in ErrorReason.items() if number]

#: Without a reason of wxauth; RESOURCE_EXHAUSTED is gRPC's own limit of calls.
UNREACHABLE = {"UNAVAILABLE", "CANCELLED", "RESOURCE_EXHAUSTED"}
STATUSES = [status.name for status in grpc.StatusCode if status is not grpc.StatusCode.OK]


@pytest.fixture(scope="module")
def running() -> Iterator[ScriptedServer]:
    with scripted_server() as server:
        yield server


@pytest.fixture
def server(running: ScriptedServer) -> ScriptedServer:
    running.reset()
    return running


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The policy, but for its first delay of 0.1 s."""
    monkeypatch.setattr(retrying, "LOGIN", replace(LOGIN, first_delay_s=0.001))


@pytest.fixture(params=["sync", "aio"])
def log_in(
    request: pytest.FixtureRequest, server: ScriptedServer, server_loop: asyncio.AbstractEventLoop
) -> LogIn:
    def ask(address: str = server.address, **kwargs: Any) -> Any:
        return asker(request.param, address, server_loop)("login", "code", **kwargs)

    return ask


def test_a_request_id_is_made_for_each_login(log_in: LogIn, server: ScriptedServer) -> None:
    for _ in range(3):
        log_in()
    made = [request.request_id for request in server.requests("Login")]
    assert len(set(made)) == 3
    for request_id in made:
        assert 22 <= len(request_id.encode()) <= 128
        assert all("!" <= char <= "~" for char in request_id)


def test_the_callers_own_request_id_is_sent(log_in: LogIn, server: ScriptedServer) -> None:
    log_in(request_id="r" * 22)
    assert [request.request_id for request in server.requests("Login")] == ["r" * 22]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("reason", REASONS)
def test_a_reason_is_retried_or_not(log_in: LogIn, server: ScriptedServer, reason: str) -> None:
    server.answers["Login"] = refuse(reason, OF_THE_CONTRACT[reason].status)
    with pytest.raises(OF_THE_CONTRACT[reason]):
        log_in(timeout_s=20)
    assert len(server.requests("Login")) == REASONS_RETRIED.get(reason, 1)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("status", STATUSES)
def test_a_bare_status_is_retried_or_not(
    log_in: LogIn, server: ScriptedServer, status: str
) -> None:
    server.answers["Login"] = fail(status)
    with pytest.raises(WxauthError):
        log_in(timeout_s=20)
    expected = 7 if status in UNREACHABLE else 4 if status == "DEADLINE_EXCEEDED" else 1
    assert len(server.requests("Login")) == expected


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("unreachable", "overloaded"), [(2, 2), (3, 1), (5, 1)])
def test_a_server_that_is_back_and_overloaded_gets_no_more_than_before(
    log_in: LogIn, server: ScriptedServer, unreachable: int, overloaded: int
) -> None:
    """All attempts count towards its four, whatever the others failed of."""
    refusal = refuse("OVERLOADED", "RESOURCE_EXHAUSTED")
    server.answers["Login"] = in_turn(*[fail("UNAVAILABLE")] * unreachable, refusal)
    with pytest.raises(Overloaded):
        log_in(timeout_s=20)
    assert len(server.requests("Login")) == unreachable + overloaded


@pytest.mark.usefixtures("quick")
def test_an_overloaded_server_that_goes_down(log_in: LogIn, server: ScriptedServer) -> None:
    refusal = refuse("OVERLOADED", "RESOURCE_EXHAUSTED")
    server.answers["Login"] = in_turn(*[refusal] * 3, fail("UNAVAILABLE"))
    with pytest.raises(ServerUnreachable):
        log_in(timeout_s=20)
    assert len(server.requests("Login")) == 7


@pytest.mark.usefixtures("quick")
def test_a_reason_newer_than_the_client_is_a_verdict(log_in: LogIn, server: ScriptedServer) -> None:
    server.answers["Login"] = refuse("MOON_PHASE", "UNAVAILABLE")
    with pytest.raises(WxauthError, match="MOON_PHASE"):
        log_in()
    assert len(server.requests("Login")) == 1


@pytest.mark.usefixtures("quick")
def test_every_attempt_is_the_same_request(log_in: LogIn, server: ScriptedServer) -> None:
    good = server.answers["Login"]
    server.answers["Login"] = in_turn(
        fail("UNAVAILABLE"), refuse("OVERLOADED", "RESOURCE_EXHAUSTED"), fail("CANCELLED"), good
    )
    assert log_in(username="a", password="p", rebind=True).session_id == SESSION_ID
    first, *others = server.requests("Login")
    assert others == [first] * 3
    assert first.request_id


@pytest.mark.usefixtures("quick")
def test_the_last_error_is_raised(log_in: LogIn, server: ScriptedServer) -> None:
    """CODE_USED after WECHAT_UNAVAILABLE: the code was burnt, WeChat is there again."""
    server.answers["Login"] = in_turn(
        refuse("WECHAT_UNAVAILABLE", "UNAVAILABLE"), refuse("CODE_USED", "UNAUTHENTICATED")
    )
    with pytest.raises(CodeUsed):
        log_in()
    assert len(server.requests("Login")) == 2


def test_with_its_real_delays_too(log_in: LogIn, server: ScriptedServer) -> None:
    started = time.monotonic()
    server.answers["Login"] = in_turn(
        fail("UNAVAILABLE"), fail("UNAVAILABLE"), server.answers["Login"]
    )
    assert log_in().session_id == SESSION_ID
    assert time.monotonic() - started >= 0.1 + 0.2
