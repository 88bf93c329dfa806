"""ValidateSession, Logout and Unbind over a socket."""

from __future__ import annotations

from functools import partial

import grpc
import pytest

from tests.rpc.conftest import Serve
from tests.running_server import FakeClock, RunningServer, refused
from wxauth.v1.auth_service_pb2 import LogoutRequest, UnbindRequest, ValidateSessionRequest
from wxauth_server.config import DEMO_APP_ID
from wxauth_server.session_id import new_session_id

DAY_MS = 86_400_000
PASSWORD = "correct horse battery"


def test_the_answer_is_complete(timed: RunningServer, clock: FakeClock) -> None:
    user = timed.bound()
    session_id = timed.login(code=timed.code(user)).session_id
    clock.ms += 1_000
    session = timed.validate(session_id, DEMO_APP_ID)
    assert session.app_id == DEMO_APP_ID
    assert session.openid.startswith("o")
    assert len(session.session_handle) == 22
    assert session.session_handle not in session_id
    assert session.login_time.ToMilliseconds() == clock.ms - 1_000
    assert session.idle_expire_time.ToMilliseconds() == clock.ms - 1_000 + 7 * DAY_MS
    assert session.absolute_expire_time.ToMilliseconds() == clock.ms - 1_000 + 30 * DAY_MS
    assert session.reuse_for.ToSeconds() == 300


@pytest.mark.parametrize(
    "session_id",
    ["nonsense", "wxs_" + "a" * 49, "x" * 10_000, new_session_id(), "wxs_" + "\u00e9" * 49],
    ids=["nonsense", "checksum", "long", "well-formed", "letters"],
)
def test_what_was_never_issued(server: RunningServer, session_id: str) -> None:
    refusal = refused(lambda: server.validate(session_id))
    assert (refusal.code, refusal.reason) == (
        grpc.StatusCode.UNAUTHENTICATED,
        "SESSION_INVALID",
    )


def test_a_session_of_another_app(server: RunningServer) -> None:
    session_id = server.login(code=server.code(server.bound())).session_id
    refusal = refused(lambda: server.validate(session_id, "wx0000000000000000"))
    assert refusal.reason == "SESSION_INVALID"


@pytest.mark.parametrize("step_ms", [-1, 0, 1])
def test_the_idle_limit_to_the_millisecond(
    timed: RunningServer, clock: FakeClock, step_ms: int
) -> None:
    session_id = timed.login(code=timed.code(timed.bound())).session_id
    clock.ms += 7 * DAY_MS + step_ms
    if step_ms < 0:
        timed.validate(session_id)
    else:
        refusal = refused(lambda: timed.validate(session_id))
        assert (refusal.reason, refusal.metadata) == ("SESSION_EXPIRED", {"limit": "idle"})


def test_use_moves_the_idle_limit_but_not_the_absolute_one(
    timed: RunningServer, clock: FakeClock
) -> None:
    session_id = timed.login(code=timed.code(timed.bound())).session_id
    for _ in range(4):
        clock.ms += 7 * DAY_MS - 1
        timed.validate(session_id)
        timed.flush()
    clock.ms += 2 * DAY_MS + 3
    assert timed.validate(session_id).reuse_for.ToMilliseconds() == 1
    clock.ms += 1
    refusal = refused(lambda: timed.validate(session_id))
    assert (refusal.reason, refusal.metadata) == ("SESSION_EXPIRED", {"limit": "absolute"})


def test_a_thousand_validations_are_one_write(timed: RunningServer, clock: FakeClock) -> None:
    session_id = timed.login(code=timed.code(timed.bound())).session_id
    clock.ms += 300_000
    request = ValidateSessionRequest(session_id=session_id)
    for _ in range(10):
        for call in [timed.stub.ValidateSession.future(request, timeout=10) for _ in range(100)]:
            call.result()
    timed.flush()
    assert timed.rows("SELECT MAX(last_seen_at) FROM sessions") == [(clock.ms,)]
    clock.ms += 299_999
    timed.validate(session_id)
    timed.flush()
    [(seen,)] = timed.rows("SELECT MAX(last_seen_at) FROM sessions")
    assert seen == clock.ms - 299_999, "a write before its time"


def test_a_late_touch_does_not_revive(timed: RunningServer, clock: FakeClock) -> None:
    user = timed.bound()
    session_id = timed.login(code=timed.code(user)).session_id
    clock.ms += 400_000
    timed.validate(session_id)
    timed.stub.Logout(LogoutRequest(session_id=session_id), timeout=10)
    timed.flush()
    assert refused(lambda: timed.validate(session_id)).metadata == {"cause": "LOGOUT"}


def test_logout(server: RunningServer) -> None:
    user = server.bound()
    one = server.login(code=server.code(user)).session_id
    other = server.login(code=server.code(user)).session_id
    server.stub.Logout(LogoutRequest(session_id=one), timeout=10)
    for call in (
        lambda: server.validate(one),
        lambda: server.stub.Logout(LogoutRequest(session_id=one), timeout=10),
        lambda: server.stub.Unbind(UnbindRequest(session_id=one, code="0" * 32), timeout=10),
    ):
        refusal = refused(call)
        assert (refusal.reason, refusal.metadata) == ("SESSION_REVOKED", {"cause": "LOGOUT"})
    server.validate(other)


@pytest.mark.parametrize("proof", ["code", "password"])
def test_unbind_ends_the_binding_and_every_session(server: RunningServer, proof: str) -> None:
    user = server.bound("zhangsan", PASSWORD)
    sessions = [server.login(code=server.code(user)).session_id for _ in range(3)]
    fields = {"code": server.code(user)} if proof == "code" else {"password": PASSWORD}
    answer = server.stub.Unbind(UnbindRequest(session_id=sessions[0], **fields), timeout=10)
    assert answer.app_id == DEMO_APP_ID
    assert answer.account.id == "id-zhangsan"
    assert answer.sessions_ended == 4, "the three, and the one of the first login"
    for session_id in sessions:
        assert refused(partial(server.validate, session_id)).metadata == {"cause": "UNBOUND"}
    assert refused(lambda: server.login(code=server.code(user))).reason == "BINDING_REQUIRED"
    again = server.login(code=server.code(user), username="zhangsan", password=PASSWORD)
    assert again.bound_now


def test_unbind_counts_the_sessions_that_were_live(serve: Serve, clock: FakeClock) -> None:
    """Not one past its idle limit, nor one past its absolute limit; they end all the same."""
    server = serve(session_idle_s=3600, session_absolute_s=7200)
    user = server.bound()  # its session will be past its absolute limit, in use all the time
    clock.ms += 1_000
    idle = server.login(code=server.code(user)).session_id
    [(absolute,)] = server.rows("SELECT digest FROM sessions ORDER BY login_at LIMIT 1")
    clock.ms += 7_200_000 - 1_001
    server.store.write(
        lambda tx: tx.execute(
            "UPDATE sessions SET last_seen_at = :now WHERE digest = :digest",
            {"now": clock.ms, "digest": absolute},
        )
    )
    live = [server.login(code=server.code(user)).session_id for _ in range(2)]
    logged_out = server.login(code=server.code(user)).session_id
    server.stub.Logout(LogoutRequest(session_id=logged_out), timeout=10)
    clock.ms += 1
    code = server.code(user)
    answer = server.stub.Unbind(UnbindRequest(session_id=live[0], code=code), timeout=10)
    assert answer.sessions_ended == 2
    assert refused(lambda: server.validate(idle)).reason == "SESSION_EXPIRED"
    causes = server.rows("SELECT ended_cause, COUNT(*) FROM sessions GROUP BY 1 ORDER BY 1")
    assert causes == [("LOGOUT", 1), ("UNBOUND", 4)]


@pytest.mark.parametrize("proof", ["code", "password"])
def test_unbind_with_somebody_elses_proof(server: RunningServer, proof: str) -> None:
    user = server.bound("zhangsan", PASSWORD)
    session_id = server.login(code=server.code(user)).session_id
    stranger = server.new_user()
    fields = {"code": server.code(stranger)} if proof == "code" else {"password": "not it at all"}
    refusal = refused(
        lambda: server.stub.Unbind(UnbindRequest(session_id=session_id, **fields), timeout=10)
    )
    assert (refusal.code, refusal.reason) == (
        grpc.StatusCode.PERMISSION_DENIED,
        "PROOF_INVALID",
    )
    server.validate(session_id)
    assert server.rows("SELECT COUNT(*) FROM bindings") == [(1,)]
    assert server.rows("SELECT event FROM audit_events ORDER BY id DESC LIMIT 1") == [
        ("UNBIND_REFUSED",)
    ]


def test_a_dead_session_spends_no_code(server: RunningServer) -> None:
    user = server.bound()
    session_id = server.login(code=server.code(user)).session_id
    server.stub.Logout(LogoutRequest(session_id=session_id), timeout=10)
    code = server.code(user)
    refused(lambda: server.stub.Unbind(UnbindRequest(session_id=session_id, code=code), timeout=10))
    server.login(code=code)
