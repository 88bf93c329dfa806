"""A login is sent again where that is safe, with the same request_id, and never too long."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.scripted_server import (
    SESSION_ID,
    Answer,
    ScriptedServer,
    fail,
    in_turn,
    refuse,
    scripted_server,
)
from wxauth.v1.error_reason_pb2 import ErrorReason
from wxauth_client import (
    AsyncAuthClient,
    AuthClient,
    CodeUsed,
    DeadlineExceeded,
    Overloaded,
    ServerUnreachable,
    StoreUnavailable,
    WeChatUnavailable,
    WxauthError,
    calls,
    retrying,
)
from wxauth_client.errors import OF_THE_CONTRACT
from wxauth_client.retrying import LOGIN, MIN_ATTEMPT_S, ONCE, next_delay_s

# Logs in with a client of either kind.
LogIn = Callable[..., Any]

#: error_reason.proto says of each other one that the code is spent or that
#: sending it again changes nothing.
REASONS_RETRIED = {"DEADLINE_TOO_SHORT", "OVERLOADED", "STORE_UNAVAILABLE", "WECHAT_UNAVAILABLE"}
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


def log_in_with(kind: str, loop: asyncio.AbstractEventLoop, address: str, **kwargs: Any) -> Any:
    async def ask() -> Any:
        async with AsyncAuthClient(address) as client:
            return await client.login("code", **kwargs)

    if kind == "aio":
        return asyncio.run_coroutine_threadsafe(ask(), loop).result(30)
    with AuthClient(address) as client:
        return client.login("code", **kwargs)


@pytest.fixture(params=["sync", "aio"])
def log_in(
    request: pytest.FixtureRequest, server: ScriptedServer, server_loop: asyncio.AbstractEventLoop
) -> LogIn:
    def ask(address: str = server.address, **kwargs: Any) -> Any:
        return log_in_with(request.param, server_loop, address, **kwargs)

    return ask


# --- The request_id -----------------------------------------------------------


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


# --- What is sent again ---------------------------------------------------------


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("reason", REASONS)
def test_a_reason_is_retried_or_not(log_in: LogIn, server: ScriptedServer, reason: str) -> None:
    server.answers["Login"] = refuse(reason, OF_THE_CONTRACT[reason].status)
    with pytest.raises(OF_THE_CONTRACT[reason]):
        log_in(timeout_s=20)
    assert len(server.requests("Login")) == (4 if reason in REASONS_RETRIED else 1)


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


# --- Deadlines ------------------------------------------------------------------


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


# --- An answer that is lost -------------------------------------------------------


class LossyProxy:
    """Hands bytes on between a client and the server, until it is told to lose an answer."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self._ends: list[socket.socket] = []
        self._losing = False
        self.connections = 0
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._start(self._accept)

    def lose(self) -> None:
        """Cut the connection instead of handing on what the server says next."""
        self._losing = True

    def close(self) -> None:
        # A close alone wakes no thread that is in accept or recv.
        _hang_up(self._listener, *self._ends)
        for thread in self._threads:
            thread.join(timeout=10)
            assert not thread.is_alive()
        for end in (self._listener, *self._ends):
            end.close()

    def _start(self, work: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=work, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                self.connections += 1
                far = socket.create_connection(self._target)
                self._ends += (near, far)
                self._start(self._hand_on, near, far)
                self._start(self._hand_back, far, near)

    def _hand_on(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(65_536):
                server.sendall(data)
        _hang_up(client, server)

    def _hand_back(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65_536):
                if self._losing:
                    self._losing = False
                    break
                client.sendall(data)
        _hang_up(client, server)


def _hang_up(*ends: socket.socket) -> None:
    for end in ends:
        with contextlib.suppress(OSError):  # it is gone already
            end.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def proxy(server: ScriptedServer) -> Iterator[LossyProxy]:
    between = LossyProxy(server.address)
    yield between
    between.close()


def lose_the_first_answer(server: ScriptedServer, proxy: LossyProxy) -> set[str]:
    """From now on; gives the request_ids for which the server has begun a session."""
    sessions: set[str] = set()
    good = server.answers["Login"]

    def logged_in(request: Any, context: grpc.ServicerContext) -> Any:
        if not sessions:
            proxy.lose()
        sessions.add(request.request_id)
        return good(request, context)

    server.answers["Login"] = logged_in
    return sessions


@pytest.mark.usefixtures("quick")
def test_a_connection_that_is_cut_under_the_answer(
    log_in: LogIn, server: ScriptedServer, proxy: LossyProxy
) -> None:
    sessions = lose_the_first_answer(server, proxy)
    assert log_in(proxy.address, timeout_s=20).session_id == SESSION_ID
    first, second = server.requests("Login")
    assert first == second
    assert sessions == {first.request_id}
    assert proxy.connections == 2


def test_without_retries_such_an_answer_is_lost(
    log_in: LogIn, server: ScriptedServer, proxy: LossyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control: the proxy does lose it, and gRPC does not send it again."""
    monkeypatch.setattr(retrying, "LOGIN", ONCE)
    sessions = lose_the_first_answer(server, proxy)
    with pytest.raises(ServerUnreachable):
        log_in(proxy.address, timeout_s=20)
    assert len(sessions) == len(server.requests("Login")) == 1


def test_an_answer_that_does_not_come(
    log_in: LogIn, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The attempt ends long before the call, which then asks again."""
    monkeypatch.setattr(retrying, "LOGIN", replace(LOGIN, attempt_timeout_s=0.5))
    good = server.answers["Login"]
    given_up = threading.Event()

    def silent(request: Any, context: grpc.ServicerContext) -> Any:
        context.add_callback(given_up.set)
        assert given_up.wait(10)
        return good(request, context)

    server.answers["Login"] = in_turn(silent, good)
    assert log_in(timeout_s=20).session_id == SESSION_ID
    first, second = server.requests("Login")
    assert first == second


# --- Slots, cancelling, closing -----------------------------------------------------


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


# --- The decision ---------------------------------------------------------------------

FAILURES = st.builds(
    lambda kind, wait_s: kind("", retry_after_s=wait_s),
    st.sampled_from([*OF_THE_CONTRACT.values(), DeadlineExceeded, ServerUnreachable]),
    st.none() | st.floats(0, 100),
)


@given(st.integers(1, 9), FAILURES, st.floats(-1, 30), st.floats(0, 1))
def test_a_wait_fits_and_is_no_shorter_than_asked(
    attempts: int, failure: WxauthError, left_s: float, chance: float
) -> None:
    delay_s = next_delay_s(LOGIN, attempts, failure, left_s, chance)
    most = LOGIN.after.get(type(failure), 1)
    if delay_s is None:
        longest_s = max(min(0.1 * 2 ** (attempts - 1), 2), failure.retry_after_s or 0) * 1.5
        assert attempts >= most or longest_s + MIN_ATTEMPT_S > left_s
    else:
        assert attempts < most
        assert delay_s >= (failure.retry_after_s or 0)
        assert delay_s + MIN_ATTEMPT_S <= left_s
    assert next_delay_s(ONCE, attempts, failure, left_s, chance) is None


@pytest.mark.parametrize(
    ("attempts", "wait_s", "chance", "expected"),
    [
        (1, None, 0, 0.1),
        (2, None, 0, 0.2),
        (3, None, 0, 0.4),
        (3, None, 1, 0.6),
        (1, 0.05, 0, 0.1),
        (1, 2, 0, 2),
        (1, 2, 1, 3),
        (4, None, 0, None),
    ],
)
def test_the_delays(
    attempts: int, wait_s: float | None, chance: float, expected: float | None
) -> None:
    failure = WeChatUnavailable(retry_after_s=wait_s)
    assert next_delay_s(LOGIN, attempts, failure, 8, chance) == (
        expected if expected is None else pytest.approx(expected)
    )


@pytest.mark.parametrize("chance", [0, 1])
def test_how_long_a_server_may_be_away(chance: float) -> None:
    """At least 4 s, whatever the chance, and all of it within a login's 8 s."""
    delays = [
        next_delay_s(LOGIN, attempts, ServerUnreachable(), 8, chance) for attempts in range(1, 8)
    ]
    expected = [0.1, 0.2, 0.4, 0.8, 1.6, 2]
    assert delays == [*(pytest.approx(each * (1 + chance / 2)) for each in expected), None]
    assert 4 <= sum(delay for delay in delays if delay) <= calls.LOGIN_TIMEOUT_S - MIN_ATTEMPT_S


def test_a_delay_that_just_fits() -> None:
    failure = StoreUnavailable(retry_after_s=1)
    assert next_delay_s(LOGIN, 1, failure, 1 + MIN_ATTEMPT_S, 0) == 1
    assert next_delay_s(LOGIN, 1, failure, 1 + MIN_ATTEMPT_S - 0.01, 0) is None
