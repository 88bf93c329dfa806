"""What the client sends and returns, how long it waits, and what it repeats. Both twins."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, timedelta
from typing import Any

import grpc
import pytest

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
    AsyncAuthClient,
    AuthClient,
    ClientInfo,
    DeadlineExceeded,
    Login,
    ProtocolError,
    RequestInvalid,
    ServerUnreachable,
    Session,
    SessionRevoked,
    Unbound,
)

# Calls a method of a client of either kind: ask("login", "code", timeout_s=1).
Ask = Callable[..., Any]

ZHANG = Account("local", "1001", "张三", "Zhang San")


@pytest.fixture(scope="module")
def running() -> Iterator[ScriptedServer]:
    with scripted_server() as server:
        yield server


@pytest.fixture
def server(running: ScriptedServer) -> ScriptedServer:
    running.reset()
    return running


def asker(kind: str, address: str, loop: asyncio.AbstractEventLoop) -> Ask:
    def ask_sync(method: str, *args: Any, **kwargs: Any) -> Any:
        with AuthClient(address) as client:
            return getattr(client, method)(*args, **kwargs)

    def ask_aio(method: str, *args: Any, **kwargs: Any) -> Any:
        async def ask() -> Any:
            async with AsyncAuthClient(address) as client:
                return await getattr(client, method)(*args, **kwargs)

        return asyncio.run_coroutine_threadsafe(ask(), loop).result(30)

    return ask_sync if kind == "sync" else ask_aio


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


# --- Deadlines and turns ----------------------------------------------------


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
        asker(kind, "127.0.0.1:1", server_loop)("login", "x", timeout_s=5)


class Gate:
    """Holds calls until it is opened; says how many are inside."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._changed = threading.Condition()
        self._open = False
        self.inside = 0
        self.most_inside = 0

    def __call__(self, request: Any, context: grpc.ServicerContext) -> Any:
        with self._changed:
            self.inside += 1
            self.most_inside = max(self.most_inside, self.inside)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._open, 10)
            self.inside -= 1
        return self._answer(request, context)

    def wait_inside(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.inside == count, 10)

    def open(self) -> None:
        with self._changed:
            self._open = True
            self._changed.notify_all()


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


# --- Readiness and shape ----------------------------------------------------


def test_ready(ask: Ask, server: ScriptedServer) -> None:
    assert ask("ready", 5) is True
    server.health.serve(False)
    assert ask("ready", 5) is False


@pytest.mark.parametrize("kind", ["sync", "aio"])
def test_not_ready_when_nothing_listens(kind: str, server_loop: asyncio.AbstractEventLoop) -> None:
    assert asker(kind, "127.0.0.1:1", server_loop)("ready") is False


def test_a_server_that_is_leaving_gets_no_calls(ask: Ask, server: ScriptedServer) -> None:
    server.health.serve(False)
    with pytest.raises(ServerUnreachable):
        ask("login", "x")
    assert server.requests("Login") == []


def test_the_twins_have_the_same_methods() -> None:
    def shape(kind: type) -> dict[str, str]:
        return {
            name: str(inspect.signature(method)).replace(kind.__name__, "")
            for name, method in inspect.getmembers(kind, inspect.isfunction)
            if not name.startswith("_")
        }

    assert shape(AuthClient) == shape(AsyncAuthClient)


def test_an_async_client_needs_a_running_loop() -> None:
    with pytest.raises(RuntimeError):
        AsyncAuthClient()


def test_a_request_that_the_server_would_not_read_is_not_sent() -> None:
    with AuthClient("127.0.0.1:9") as client, pytest.raises(RequestInvalid) as refusal:
        client.validate("x" * 100_000)
    [violation] = refusal.value.violations
    assert violation.problem == "over 65536 bytes in all"
