"""What the client sends and returns, and what it repeats. Both twins."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, timedelta
from typing import Any

import pytest

from tests.contract.client_twins import Ask, asker
from tests.scripted_server import (
    ACCOUNT,
    NOON,
    SESSION_ID,
    Answer,
    ScriptedServer,
    fail,
    in_turn,
    refuse,
    say,
    scripted_server,
)
from wxauth.v1 import auth_service_pb2 as pb
from wxauth_client import (
    Account,
    ClientInfo,
    Login,
    ProtocolError,
    RequestInvalid,
    ServerUnreachable,
    Session,
    SessionRevoked,
    Unbound,
)

ZHANG = Account("local", "1001", "张三", "Zhang San")


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


# --- What is sent and returned ----------------------------------------------


def test_login(ask: Ask, server: ScriptedServer) -> None:
    login = ask(
        "login",
        "code-1",
        app_id="wx0123456789abcdef",
        username="张三",
        password="p",
        rebind=True,
        request_id="r" * 22,
        client=ClientInfo("192.0.2.1", "agent", "iPhone 15"),
    )
    assert login == Login(SESSION_ID, ZHANG, True, NOON, NOON.replace(microsecond=0))
    assert login.idle_expire_time.tzinfo is UTC
    assert server.requests("Login") == [
        pb.LoginRequest(
            app_id="wx0123456789abcdef",
            code="code-1",
            username="张三",
            password="p",
            rebind=True,
            request_id="r" * 22,
            client=pb.ClientInfo(address="192.0.2.1", user_agent="agent", device="iPhone 15"),
        )
    ]


def test_login_with_a_phone_code(ask: Ask, server: ScriptedServer) -> None:
    ask("login", "code-1", phone_code="f" * 64, request_id="r" * 22)
    assert server.requests("Login") == [
        pb.LoginRequest(code="code-1", phone_code="f" * 64, request_id="r" * 22)
    ]


def test_validate(ask: Ask, server: ScriptedServer) -> None:
    assert ask("validate", SESSION_ID, app_id="wx1") == Session(
        account=ZHANG,
        app_id="wx0123456789abcdef",
        openid="openid-1",
        unionid="",
        handle="handle-1",
        login_time=NOON,
        idle_expire_time=NOON,
        absolute_expire_time=NOON,
        reuse_for=timedelta(minutes=5),
    )
    assert server.requests("ValidateSession") == [
        pb.ValidateSessionRequest(session_id=SESSION_ID, app_id="wx1")
    ]


@pytest.mark.parametrize("proof", ["code", "password"])
def test_unbind(ask: Ask, server: ScriptedServer, proof: str) -> None:
    assert ask("unbind", SESSION_ID, **{proof: "x"}) == Unbound(
        False, ZHANG, "wx0123456789abcdef", "openid-1", 2
    )
    (sent,) = server.requests("Unbind")
    assert sent.WhichOneof("proof") == proof
    with pytest.raises(ValueError, match="not both"):
        ask("unbind", SESSION_ID, code="x", password="y")


def test_logout(ask: Ask, server: ScriptedServer) -> None:
    assert ask("logout", SESSION_ID) is None
    assert server.requests("Logout") == [pb.LogoutRequest(session_id=SESSION_ID)]


def test_the_session_id_is_in_no_repr(ask: Ask) -> None:
    login = ask("login", "code")
    assert login.session_id == SESSION_ID
    assert SESSION_ID not in repr(login)
    assert "openid-1" not in repr(ask("validate", SESSION_ID))


@pytest.mark.parametrize(
    ("method", "rpc", "answer"),
    [
        pytest.param("validate", "ValidateSession", pb.ValidateSessionResponse(), id="session"),
        pytest.param("login", "Login", pb.LoginResponse(account=ACCOUNT), id="no SessionId"),
        pytest.param("login", "Login", pb.LoginResponse(session_id="x"), id="no account"),
        pytest.param("unbind", "Unbind", pb.UnbindResponse(), id="unbound"),
    ],
)
def test_an_empty_answer_lets_nobody_in(
    ask: Ask, server: ScriptedServer, method: str, rpc: str, answer: Any
) -> None:
    server.answers[rpc] = say(answer)
    with pytest.raises(ProtocolError):
        ask(method, "x")


def test_text_that_is_not_unicode_is_refused_without_quoting_it(ask: Ask) -> None:
    with pytest.raises(RequestInvalid) as caught:
        ask("login", "code", username="a", password="secret\ud800")
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


# --- Repetitions ------------------------------------------------------------


@pytest.mark.parametrize("status", ["UNAVAILABLE", "CANCELLED"])
def test_a_validation_is_retried_twice(ask: Ask, server: ScriptedServer, status: str) -> None:
    answer = server.answers["ValidateSession"]
    server.answers["ValidateSession"] = in_turn(fail(status), fail(status), answer)
    # A wide deadline, so that a slow machine does not cut the retries short.
    assert ask("validate", SESSION_ID, timeout_s=5).account == ZHANG
    assert len(server.requests("ValidateSession")) == 3


def test_a_validation_is_not_retried_for_ever(ask: Ask, server: ScriptedServer) -> None:
    server.answers["ValidateSession"] = fail("UNAVAILABLE")
    with pytest.raises(ServerUnreachable):
        ask("validate", SESSION_ID, timeout_s=5)
    assert len(server.requests("ValidateSession")) == 3


def test_a_store_failure_is_retried_with_its_details(ask: Ask, server: ScriptedServer) -> None:
    answer = server.answers["ValidateSession"]
    refusal = refuse("STORE_UNAVAILABLE", "UNAVAILABLE", retry_after_s=1)
    server.answers["ValidateSession"] = in_turn(refusal, answer)
    assert ask("validate", SESSION_ID, timeout_s=5).account == ZHANG


@pytest.mark.parametrize(("method", "rpc"), [("unbind", "Unbind"), ("logout", "Logout")])
def test_what_may_have_been_done_is_not_retried(
    ask: Ask, server: ScriptedServer, method: str, rpc: str
) -> None:
    server.answers[rpc] = in_turn(fail("UNAVAILABLE"), server.answers[rpc])
    with pytest.raises(ServerUnreachable):
        ask(method, "x")
    assert len(server.requests(rpc)) == 1


def revoked(cause: str) -> Answer:
    return refuse("SESSION_REVOKED", "UNAUTHENTICATED", metadata={"cause": cause})


def test_a_repeated_logout_or_unbind_is_success(ask: Ask, server: ScriptedServer) -> None:
    server.answers["Logout"] = revoked("LOGOUT")
    assert ask("logout", SESSION_ID) is None
    server.answers["Unbind"] = revoked("UNBOUND")
    assert ask("unbind", SESSION_ID, code="x") == Unbound(already=True)


def test_a_session_that_ended_otherwise_is_no_success(ask: Ask, server: ScriptedServer) -> None:
    server.answers["Logout"] = revoked("UNBOUND")
    with pytest.raises(SessionRevoked):
        ask("logout", SESSION_ID)
    server.answers["Unbind"] = revoked("LOGOUT")
    with pytest.raises(SessionRevoked):
        ask("unbind", SESSION_ID, code="x")
