"""A login that is sent again: one session comes of it, however often and however it is sent.

design.md section 4, step 2. The tests count what WeChat was asked: a server never
sends it a code that it has exchanged already.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.rpc.conftest import Serve
from tests.rpc.logins import bound, exchanges_of, replays, sessions
from tests.running_server import FakeClock, RunningServer, refused
from wxauth.v1.auth_service_pb2 import LogoutRequest, UnbindRequest
from wxauth_server.config import DEMO_APP_ID

PASSWORD = "correct horse battery"
WRONG = "not it at all"


# --- The same request again ----------------------------------------------------


@pytest.mark.parametrize("silent", [True, False])
def test_the_same_request_again_is_the_same_answer(server: RunningServer, silent: bool) -> None:
    """Every field of it, `bound_now` too; one session, one exchange, one call to WeChat."""
    request: dict[str, Any] = {"request_id": server.new_request_id()}
    if silent:
        user = bound(server)
    else:
        user = server.new_user()
        server.add_account("zhangsan", PASSWORD)
        request |= {"username": "zhangsan", "password": PASSWORD}
    asked = exchanges_of(server, user)
    request["code"] = server.code(user)
    first = server.login(**request)
    assert first.bound_now is not silent
    for _ in range(3):
        assert server.login(**request) == first
    assert sessions(server) == 1
    assert server.rows("SELECT settled, session_key FROM exchanges") == [
        ("LOGGED_IN" if silent else "BOUND_AND_LOGGED_IN", None)
    ]
    assert exchanges_of(server, user) == asked + 1
    assert [event for event, _ in server.events()].count("LOGIN") == 1
    assert server.validate(first.session_id).account.username == "zhangsan"


def test_a_retry_after_the_answer_is_not_verified_again(server: RunningServer) -> None:
    """Nothing that the password gave is kept, so whoever has code and request_id gets it."""
    user, request_id = server.new_user(), server.new_request_id()
    server.add_account("zhangsan", PASSWORD)
    code = server.code(user)
    request = {"code": code, "request_id": request_id, "username": "zhangsan"}
    first = server.login(**request, password=PASSWORD)
    assert server.login(**request, password=WRONG) == first
    assert [event for event, _ in server.events()] == ["BOUND", "LOGIN"]


@pytest.mark.parametrize(("passed_ms", "in_time"), [(60_000, True), (60_001, False)])
def test_a_retry_has_a_minute(
    timed: RunningServer, clock: FakeClock, passed_ms: int, in_time: bool
) -> None:
    user = bound(timed)
    request = {"code": timed.code(user), "request_id": timed.new_request_id()}
    first = timed.login(**request)
    asked = exchanges_of(timed, user)
    clock.ms += passed_ms
    if in_time:
        assert timed.login(**request) == first
    else:
        assert refused(lambda: timed.login(**request)).reason == "CODE_USED"
    assert sessions(timed) == 1
    assert exchanges_of(timed, user) == asked
    assert replays(timed) == [], "it is the same caller"


def test_a_retry_after_the_session_has_ended(server: RunningServer) -> None:
    """No second session comes of the request, and no dead one is handed out."""
    request = {"code": server.code(bound(server)), "request_id": server.new_request_id()}
    first = server.login(**request)
    server.stub.Logout(LogoutRequest(session_id=first.session_id), timeout=10)
    assert refused(lambda: server.login(**request)).reason == "CODE_USED"
    assert sessions(server) == 1


def test_a_retry_after_the_session_has_expired(serve: Serve, clock: FakeClock) -> None:
    server = serve(session_idle_s=60)
    request = {"code": server.code(bound(server)), "request_id": server.new_request_id()}
    server.login(**request)
    clock.ms += 60_000
    assert refused(lambda: server.login(**request)).reason == "CODE_USED"


# --- Verdicts ------------------------------------------------------------------


def wrong_password(server: RunningServer) -> tuple[str, dict[str, Any], dict[str, Any]]:
    server.add_account("zhangsan", PASSWORD)
    pair = {"username": "zhangsan", "password": WRONG}
    return server.new_user(), pair, pair | {"password": PASSWORD}


def openid_taken(server: RunningServer) -> tuple[str, dict[str, Any], dict[str, Any]]:
    user = bound(server)
    server.add_account("lisi", PASSWORD)
    pair = {"username": "lisi", "password": PASSWORD}
    return user, pair, pair | {"rebind": True}


def account_taken(server: RunningServer) -> tuple[str, dict[str, Any], dict[str, Any]]:
    bound(server)
    pair = {"username": "zhangsan", "password": PASSWORD}
    return server.new_user(), pair, pair | {"rebind": True}


def unbound(server: RunningServer) -> tuple[str, dict[str, Any], dict[str, Any]]:
    server.add_account("zhangsan", PASSWORD)
    return server.new_user(), {}, {"username": "zhangsan", "password": PASSWORD}


def disabled(server: RunningServer) -> tuple[str, dict[str, Any], dict[str, Any]]:
    user = bound(server)
    server.accounts.disable("id-zhangsan")
    return user, {}, {}


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        (wrong_password, "CREDENTIALS_INVALID"),
        (openid_taken, "OPENID_ALREADY_BOUND"),
        (account_taken, "ACCOUNT_ALREADY_BOUND"),
        (unbound, "BINDING_REQUIRED"),
        (disabled, "ACCOUNT_DISABLED"),
    ],
)
def test_a_verdict_is_final_for_the_code(
    server: RunningServer,
    case: Callable[[RunningServer], tuple[str, dict[str, Any], dict[str, Any]]],
    reason: str,
) -> None:
    """Also for the same request, and also for one that would be right now."""
    user, refused_fields, mended = case(server)
    asked = exchanges_of(server, user)
    request = {"code": server.code(user), "request_id": server.new_request_id()}
    bindings = server.rows("SELECT app_id, openid, account_id, bound_at FROM bindings")

    assert refused(lambda: server.login(**request, **refused_fields)).reason == reason
    assert server.rows("SELECT settled, session_key, session_key_id FROM exchanges") == [
        (reason, None, None)
    ]
    audited = server.events()
    if reason == "ACCOUNT_DISABLED":
        server.accounts.enable("id-zhangsan")
        audited = server.events()
    for fields in (refused_fields, mended):
        assert refused(server.login, **request, **fields).reason == "CODE_USED"
    assert server.events() == audited, "nothing was decided, so nothing was verified"
    assert exchanges_of(server, user) == asked + 1
    assert server.rows("SELECT app_id, openid, account_id, bound_at FROM bindings") == bindings
    assert sessions(server) == 0


def test_a_wechat_refusal_is_no_verdict_of_ours(server: RunningServer) -> None:
    """The code was not spent, so it is asked about again."""
    user = bound(server)
    request = {"code": server.code(user), "request_id": server.new_request_id()}
    server.sandbox.block(user)
    for _ in range(2):
        assert refused(lambda: server.login(**request)).reason == "WECHAT_USER_BLOCKED"
    server.sandbox.block(user, blocked=False)
    server.login(**request)


# --- Somebody else's request ---------------------------------------------------


@pytest.mark.parametrize("first_had_one", [True, False])
@pytest.mark.parametrize("second_has_one", [True, False])
def test_another_caller_with_the_code(
    server: RunningServer, first_had_one: bool, second_has_one: bool
) -> None:
    """CODE_USED, and an audit event that names whose code it was; the session goes on."""
    user = bound(server)
    code = server.code(user)
    asked = exchanges_of(server, user)
    first = server.login(code=code, request_id=server.new_request_id() if first_had_one else "")
    openid = server.validate(first.session_id).openid
    request_id = server.new_request_id() if second_has_one else ""
    refusal = refused(
        lambda: server.login(code=code, request_id=request_id, client={"address": "192.0.2.7"})
    )
    assert (refusal.reason, refusal.metadata) == ("CODE_USED", {})
    server.flush_refusals()
    assert server.rows(
        "SELECT app_id, openid, client_address FROM audit_events WHERE event = 'CODE_REPLAYED'"
    ) == [(DEMO_APP_ID, openid, "192.0.2.7")]
    assert exchanges_of(server, user) == asked + 1
    assert sessions(server) == 1
    server.validate(first.session_id)


def test_another_caller_with_the_code_of_a_verdict(server: RunningServer) -> None:
    code = server.code(server.new_user())
    refused(lambda: server.login(code=code, request_id=server.new_request_id()))
    refused(lambda: server.login(code=code, request_id=server.new_request_id()))
    [(openid,)] = replays(server)
    assert openid.startswith("o")


def test_a_code_that_was_spent_elsewhere(server: RunningServer) -> None:
    """There is no row of ours: it is WeChat who says so, and nothing is known of a replay."""
    user = server.new_user()
    session_id = server.login(code=server.code(server.bound())).session_id
    code = server.code(user)
    refused(lambda: server.stub.Unbind(UnbindRequest(session_id=session_id, code=code), timeout=9))
    request = {"code": code, "request_id": server.new_request_id()}
    assert refused(lambda: server.login(**request)).reason == "CODE_USED"
    assert replays(server) == []
