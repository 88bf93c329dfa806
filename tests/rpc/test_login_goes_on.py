"""A login that was interrupted goes on where it stopped, and callers in flight share it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import grpc
import pytest

from tests.canary import CANARY
from tests.rpc.busy_server import full_password_pool, held_writer, wait_until
from tests.rpc.conftest import Serve
from tests.rpc.logins import bound, errcodes, exchanges_of, replays, sessions
from tests.running_server import FakeClock, RunningServer, read_refusal, refused, running_server
from tests.sandbox_server import RunningSandbox
from wxauth.v1.auth_service_pb2 import LoginRequest, LoginResponse, ValidateSessionRequest

PASSWORD = "correct horse battery"
WRONG = "not it at all"


# --- Going on after a failure --------------------------------------------------


def test_going_on_after_the_store_failed(server: RunningServer) -> None:
    """Nothing of the exchange was stored: what WeChat said waits in memory."""
    user = bound(server)
    request = {"code": server.code(user), "request_id": server.new_request_id()}
    asked = exchanges_of(server, user)
    with held_writer(server):
        refusal = refused(lambda: server.login(**request))
    assert (refusal.code, refusal.reason) == (
        grpc.StatusCode.UNAVAILABLE,
        "STORE_UNAVAILABLE",
    )
    assert server.rows("SELECT * FROM exchanges") == []
    other = refused(lambda: server.login(code=request["code"], request_id=server.new_request_id()))
    assert other.reason == "CODE_USED"
    first = server.login(**request)
    assert server.login(**request) == first
    assert exchanges_of(server, user) == asked + 1
    assert sessions(server) == 1
    assert len(replays(server)) == 1


def test_going_on_with_credentials_after_the_store_failed(server: RunningServer) -> None:
    user = server.new_user()
    server.add_account("zhangsan", PASSWORD)
    request = {
        "code": server.code(user),
        "request_id": server.new_request_id(),
        "username": "zhangsan",
        "password": PASSWORD,
    }
    with held_writer(server):
        assert refused(lambda: server.login(**request)).reason == "STORE_UNAVAILABLE"
    assert server.login(**request).bound_now
    assert exchanges_of(server, user) == 1


def test_what_wechat_said_is_kept_in_memory_for_a_minute(
    timed: RunningServer, clock: FakeClock
) -> None:
    """Then the login is over, as it would be with a row."""
    user = bound(timed)
    request = {"code": timed.code(user), "request_id": timed.new_request_id()}
    with held_writer(timed):
        refused(lambda: timed.login(**request))
    clock.ms += 60_001
    assert refused(lambda: timed.login(**request)).reason == "CODE_USED"
    assert sessions(timed) == 0


def test_overloaded_before_the_code_is_spent(server: RunningServer) -> None:
    user = server.new_user()
    server.add_account("zhangsan", PASSWORD)
    request = {
        "code": server.code(user),
        "request_id": server.new_request_id(),
        "username": "zhangsan",
        "password": PASSWORD,
    }
    with full_password_pool(server):
        assert refused(lambda: server.login(**request)).reason == "OVERLOADED"
        assert exchanges_of(server, user) == 0
    assert server.login(**request).bound_now


def test_going_on_after_overloaded_at_the_password_pool(server: RunningServer) -> None:
    """The pool filled up while the code was exchanged: the row waits, with its session_key."""
    user = server.new_user()
    server.add_account("zhangsan", PASSWORD)
    request = LoginRequest(
        code=server.code(user),
        request_id=server.new_request_id(),
        username="zhangsan",
        password=PASSWORD,
    )
    with ExitStack() as pool_filled:
        with held_writer(server):
            waiting = server.stub.Login.future(request, timeout=10)
            wait_until(lambda: exchanges_of(server, user) == 1)
            pool_filled.enter_context(full_password_pool(server))
        assert refused(waiting.result).reason == "OVERLOADED"
    [(settled, session_key)] = server.rows("SELECT settled, session_key FROM exchanges")
    assert settled is None
    assert session_key
    answer = server.stub.Login(request, timeout=10)
    CANARY.keep(answer.session_id)
    assert answer.bound_now
    assert exchanges_of(server, user) == 1
    assert server.rows("SELECT settled, session_key FROM exchanges") == [
        ("BOUND_AND_LOGGED_IN", None)
    ]


def test_a_retry_of_a_caller_whose_time_was_up(
    serve: Serve, own_clock_sandbox: tuple[RunningSandbox, list[float]]
) -> None:
    """WeChat takes longer than the first attempt has time, not longer than a login may."""
    wechat, _ = own_clock_sandbox
    server = serve(wechat=wechat)
    user = bound(server)
    request = LoginRequest(code=server.code(user), request_id=server.new_request_id())
    wechat.slow(600)
    first = refused(server.stub.Login, request, timeout=0.3)
    assert first.code in {grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE}
    answer = server.stub.Login(request, timeout=10)
    CANARY.keep(answer.session_id)
    assert sessions(server) == 1


# --- At the same time ----------------------------------------------------------


def at_once(server: RunningServer, requests: list[LoginRequest]) -> list[LoginResponse | str]:
    """What becomes of requests that are sent together: the answer, or the reason."""
    together = threading.Barrier(len(requests))

    def send(request: LoginRequest) -> LoginResponse | str:
        together.wait(10)
        try:
            answer = server.stub.Login(request, timeout=10)
        except grpc.RpcError as error:
            return read_refusal(error).reason
        CANARY.keep(answer.session_id)
        return answer

    with ThreadPoolExecutor(len(requests)) as pool:
        return list(pool.map(send, requests))


@pytest.mark.parametrize("silent", [True, False])
def test_callers_in_flight_share_one_answer(server: RunningServer, silent: bool) -> None:
    request = LoginRequest(request_id=server.new_request_id())
    if silent:
        user = bound(server)
    else:
        user = server.new_user()
        server.add_account("zhangsan", PASSWORD)
        request.username, request.password = "zhangsan", PASSWORD
    asked = exchanges_of(server, user)
    request.code = server.code(user)
    answers = at_once(server, [request] * 20)
    assert answers == [answers[0]] * 20
    assert isinstance(answers[0], LoginResponse)
    assert answers[0].bound_now is not silent
    assert sessions(server) == 1
    assert exchanges_of(server, user) == asked + 1


def test_callers_in_flight_with_requests_of_their_own(server: RunningServer) -> None:
    """One is first; the others hear CODE_USED, whoever they are."""
    user = bound(server)
    code = server.code(user)
    asked = exchanges_of(server, user)
    answers = at_once(
        server,
        [LoginRequest(code=code, request_id=server.new_request_id()) for _ in range(8)]
        + [LoginRequest(code=code)] * 4,
    )
    assert sorted(type(answer).__name__ for answer in answers) == ["LoginResponse"] + ["str"] * 11
    assert {answer for answer in answers if isinstance(answer, str)} == {"CODE_USED"}
    assert sessions(server) == 1
    assert exchanges_of(server, user) == asked + 1
    assert len(replays(server)) == 11


@pytest.mark.parametrize(
    "other",
    [{"password": WRONG}, {"username": "lisi"}, {"rebind": True}, {"username": "", "password": ""}],
    ids=["password", "username", "rebind", "silent"],
)
def test_an_equal_request_id_does_not_share_with_other_credentials(
    server: RunningServer, other: dict[str, Any]
) -> None:
    """While the first one is in flight nobody can tell what will come of it."""
    user = server.new_user()
    server.add_account("zhangsan", PASSWORD)
    fields: dict[str, Any] = {
        "code": server.code(user),
        "request_id": server.new_request_id(),
        "username": "zhangsan",
        "password": PASSWORD,
    }
    with held_writer(server):
        first = server.stub.Login.future(LoginRequest(**fields), timeout=10)
        wait_until(lambda: exchanges_of(server, user) == 1)
        second = server.stub.Login.future(LoginRequest(**fields | other), timeout=10)
        arrived(server)
    assert refused(second.result).reason == "CODE_USED"
    assert first.result().bound_now
    assert exchanges_of(server, user) == 1
    assert sessions(server) == 1


def arrived(server: RunningServer) -> None:
    """Come back when the server has begun with all that was sent before."""
    refused(lambda: server.stub.ValidateSession(ValidateSessionRequest(session_id="x"), timeout=9))


def test_a_caller_who_gives_up_does_not_end_it_for_the_others(server: RunningServer) -> None:
    user = bound(server)
    asked = exchanges_of(server, user)
    request = LoginRequest(code=server.code(user), request_id=server.new_request_id())
    with held_writer(server):
        first = server.stub.Login.future(request, timeout=10)
        wait_until(lambda: exchanges_of(server, user) == asked + 1)
        second = server.stub.Login.future(request, timeout=10)
        arrived(server)
        assert first.cancel()
        arrived(server)
    answer = second.result()
    CANARY.keep(answer.session_id)
    server.validate(answer.session_id)
    assert sessions(server) == 1
    assert exchanges_of(server, user) == asked + 1


def test_a_login_goes_on_when_its_only_caller_gives_up(server: RunningServer) -> None:
    """The code is spent; who asks again finds the session that came of it."""
    user = bound(server)
    request = LoginRequest(code=server.code(user), request_id=server.new_request_id())
    asked = exchanges_of(server, user)
    with held_writer(server):
        first = server.stub.Login.future(request, timeout=10)
        wait_until(lambda: exchanges_of(server, user) == asked + 1)
        assert first.cancel()
        arrived(server)
    wait_until(lambda: sessions(server) == 1)
    answer = server.stub.Login(request, timeout=10)
    CANARY.keep(answer.session_id)
    assert not answer.bound_now
    server.validate(answer.session_id)
    assert sessions(server) == 1
    assert exchanges_of(server, user) == asked + 1


# --- Two servers of one store ---------------------------------------------------


@pytest.fixture
def neighbour(
    server: RunningServer, sandbox: RunningSandbox, server_loop: asyncio.AbstractEventLoop
) -> Iterator[RunningServer]:
    """A second server on the database of the first."""
    with running_server(server.configuration.store.directory, sandbox, server_loop) as running:
        yield running


def test_a_retry_at_another_server(server: RunningServer, neighbour: RunningServer) -> None:
    """It hears of WeChat that the code was used (40163), and then looks who used it."""
    user = bound(server)
    request = {"code": server.code(user), "request_id": server.new_request_id()}
    asked = errcodes(server, user)
    first = server.login(**request)
    assert neighbour.login(**request) == first
    other = request | {"request_id": server.new_request_id()}
    assert refused(neighbour.login, **other).reason == "CODE_USED"
    assert errcodes(server, user) == [*asked, 0, 40163, 40163]
    assert sessions(server) == 1
    assert len(replays(server, neighbour)) == 1


@pytest.mark.parametrize("fault", [{"errcode": 45011}, {"errcode": 40029}, {"fault": "html_502"}])
def test_a_retry_at_another_server_whatever_wechat_says(
    server: RunningServer, neighbour: RunningServer, fault: dict[str, Any]
) -> None:
    """WeChat may be down by then, or know nothing of the code: the row does."""
    user = bound(server)
    request = {"code": server.code(user), "request_id": server.new_request_id()}
    first = server.login(**request)
    server.sandbox.next_calls("/sns/jscode2session", **fault)
    assert neighbour.login(**request) == first
    assert sessions(server) == 1


def test_going_on_at_another_server(server: RunningServer, neighbour: RunningServer) -> None:
    """The row has what WeChat said, sealed: the second server goes on with that."""
    user = server.new_user()
    server.add_account("zhangsan", PASSWORD)
    request = LoginRequest(
        code=server.code(user),
        request_id=server.new_request_id(),
        username="zhangsan",
        password=PASSWORD,
    )
    with ExitStack() as pool_filled:
        with held_writer(server):
            waiting = server.stub.Login.future(request, timeout=10)
            wait_until(lambda: exchanges_of(server, user) == 1)
            pool_filled.enter_context(full_password_pool(server))
        assert refused(waiting.result).reason == "OVERLOADED"
        answer = neighbour.stub.Login(request, timeout=10)
    CANARY.keep(answer.session_id)
    assert answer.bound_now
    again = server.stub.Login(request, timeout=10)
    assert again == answer
    assert errcodes(server, user) == [0, 40163]
    assert sessions(server) == 1
