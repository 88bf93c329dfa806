"""AdminService: sessions are listed and ended."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from tests.admin_caller import PASSWORD, AdminCaller, by_id, by_name
from tests.running_server import FakeClock, RunningServer, refused
from wxauth.v1.admin_service_pb2 import (
    AdminServiceListSessionsRequest,
    EndSessionsRequest,
    SessionDetails,
)
from wxauth.v1.auth_service_pb2 import ClientInfo, LogoutRequest
from wxauth_server.auth import manage_sessions
from wxauth_server.config import DEMO_APP_ID

DAY_MS = 86_400_000
STATES = SessionDetails.State


def sessions(admin: AdminCaller, **filters: Any) -> list[SessionDetails]:
    return list(admin.ListSessions(AdminServiceListSessionsRequest(**filters)).sessions)


def states(admin: AdminCaller, **filters: Any) -> list[tuple[str, str]]:
    found = sessions(admin, **filters)
    return [(STATES.Name(each.state).removeprefix("STATE_"), each.detail) for each in found]


def ended_events(server: RunningServer) -> list[tuple[Any, ...]]:
    return server.rows(
        "SELECT actor, app_id, account_id, session_handle, count, client_address"
        " FROM audit_events WHERE event = 'SESSIONS_ENDED' ORDER BY id"
    )


def keys(server: RunningServer) -> list[tuple[str, int]]:
    """Accounts by their bindings, and whether WeChat's key is kept for each."""
    return server.rows(
        "SELECT account_id, session_key IS NOT NULL FROM bindings ORDER BY account_id"
    )


# --- Listing -----------------------------------------------------------------


def test_a_session_is_listed_as_it_is(
    timed: RunningServer, admin: AdminCaller, clock: FakeClock
) -> None:
    user = timed.bound("zhangsan", PASSWORD)
    clock.ms += 1
    client = ClientInfo(address="192.0.2.7", device="phone")
    session = timed.validate(timed.login(code=timed.code(user), client=client).session_id)

    newest, oldest = sessions(admin)

    assert newest.session_handle == session.session_handle
    assert (newest.state, newest.detail) == (STATES.STATE_LIVE, "")
    assert (newest.app_id, newest.openid) == (DEMO_APP_ID, session.openid)
    assert (newest.account_source, newest.account_id) == ("local", "id-zhangsan")
    assert newest.username == "zhangsan"
    assert newest.login_time.ToMilliseconds() == clock.ms
    assert newest.last_seen_time.ToMilliseconds() == clock.ms
    assert not newest.HasField("end_time")
    assert (newest.client_address, newest.client_device) == ("192.0.2.7", "phone")
    assert (oldest.client_address, oldest.client_device) == ("", "")


def test_every_state(timed: RunningServer, admin: AdminCaller, clock: FakeClock) -> None:
    user = timed.bound("zhangsan", PASSWORD)
    left = timed.login(code=timed.code(user)).session_id
    timed.stub.Logout(LogoutRequest(session_id=left), timeout=10)
    clock.ms += 1
    kept = timed.login(code=timed.code(user)).session_id
    for _ in range(5):  # used until its absolute end
        clock.ms += 6 * DAY_MS
        if clock.ms < sessions(admin)[0].login_time.ToMilliseconds() + 30 * DAY_MS:
            timed.validate(kept)
            timed.flush()
    timed.login(code=timed.code(user))
    timed.store.write(
        lambda tx: tx.execute(
            "INSERT INTO sessions (digest, handle, app_id, openid, account_source, account_id,"
            " login_at, last_seen_at) SELECT x'00', 'gone', 'wx9', openid, account_source,"
            " account_id, 1, 1 FROM bindings"
        )
    )
    found = states(admin)
    assert found[:2] == [("LIVE", ""), ("EXPIRED", "absolute")]
    assert sorted(found[2:4]) == [("ENDED", "LOGOUT"), ("EXPIRED", "idle")]
    assert found[4:] == [("UNSERVED", "")]
    [logged_out] = [each for each in sessions(admin) if each.detail == "LOGOUT"]
    assert logged_out.end_time == logged_out.login_time
    assert states(admin, live=True) == [("LIVE", "")]


def test_the_filters(timed: RunningServer, admin: AdminCaller) -> None:
    for name in ("zhangsan", "lisi"):
        timed.bound(name, PASSWORD)

    def accounts(**filters: Any) -> list[str]:
        return sorted(session.account_id for session in sessions(admin, **filters))

    assert accounts() == accounts(app_id=DEMO_APP_ID, live=True) == ["id-lisi", "id-zhangsan"]
    assert accounts(account=by_name("LiSi")) == ["id-lisi"]
    assert accounts(account=by_id("id-lisi"), app_id=DEMO_APP_ID, live=True) == ["id-lisi"]
    assert accounts(account=by_id("id-lisi", "erp")) == []
    assert accounts(app_id="wx9999999999999999") == []


@pytest.mark.parametrize(
    ("filters", "field"),
    [
        ({"account": by_name("nobody")}, "account.username"),
        ({"app_id": "w" * 65}, "app_id"),
        ({"page_size": 501}, "page_size"),
        ({"page_token": "WyJhIiwiYiJd"}, "page_token"),  # that of a list of bindings
    ],
    ids=str,
)
def test_filters_that_make_no_sense(
    admin: AdminCaller, filters: dict[str, Any], field: str
) -> None:
    refusal = refused(lambda: sessions(admin, **filters))
    assert (refusal.reason, set(refusal.violations)) == ("REQUEST_INVALID", {field})


# --- Ending ------------------------------------------------------------------


def end(admin: AdminCaller, **scope: Any) -> Any:
    return admin.EndSessions(EndSessionsRequest(**scope))


def test_one_session_is_ended(timed: RunningServer, admin: AdminCaller) -> None:
    user = timed.bound("zhangsan", PASSWORD)
    session = timed.login(code=timed.code(user)).session_id
    [handle, other] = [each.session_handle for each in sessions(admin)]
    if timed.validate(session).session_handle != handle:
        handle, other = other, handle

    answer = end(admin, session_handle=handle)

    assert (answer.sessions_ended, answer.more, answer.continue_token) == (1, False, "")
    assert refused(lambda: timed.validate(session)).metadata == {"cause": "ADMIN"}
    assert keys(timed) == [("id-zhangsan", 1)]
    assert end(admin, session_handle=handle).sessions_ended == 0
    event = ("admin", DEMO_APP_ID, "id-zhangsan", handle, 1, "127.0.0.1")
    assert ended_events(timed) == [event]
    assert end(admin, session_handle=other).sessions_ended == 1
    assert keys(timed) == [("id-zhangsan", 0)]
    missing = refused(lambda: end(admin, session_handle="A" * 22))
    assert (missing.code, missing.metadata) == (grpc.StatusCode.NOT_FOUND, {"what": "session"})


def test_all_sessions_of_an_account_are_ended(
    timed: RunningServer, admin: AdminCaller, clock: FakeClock
) -> None:
    user, other = timed.bound("zhangsan", PASSWORD), timed.bound("lisi", PASSWORD)
    clock.ms += 8 * DAY_MS  # these have expired
    session = timed.login(code=timed.code(user)).session_id
    kept = timed.login(code=timed.code(other)).session_id

    assert end(admin, account=by_name("zhangsan")).sessions_ended == 1

    assert refused(lambda: timed.validate(session)).metadata == {"cause": "ADMIN"}
    timed.validate(kept)
    assert keys(timed) == [("id-lisi", 1), ("id-zhangsan", 0)]
    assert end(admin, account=by_id("id-zhangsan")).sessions_ended == 0
    assert ended_events(timed) == [("admin", None, "id-zhangsan", None, 2, "127.0.0.1")]
    timed.login(code=timed.code(user))  # the binding stays


def test_all_sessions_of_an_app_are_ended_a_little_at_a_time(
    timed: RunningServer,
    admin: AdminCaller,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(manage_sessions, "ENDED_AT_ONCE", 2)
    users = [timed.bound(f"user{number}", PASSWORD) for number in range(3)]
    for user in users[:2]:
        timed.login(code=timed.code(user))
    clock.ms += 1

    first = end(admin, app_id=DEMO_APP_ID)
    assert (first.sessions_ended, first.more) == (2, True)
    clock.ms += 1
    later = timed.login(code=timed.code(users[0])).session_id
    counts = []
    answer = first
    while answer.more:
        answer = end(admin, app_id=DEMO_APP_ID, continue_token=answer.continue_token)
        counts.append(answer.sessions_ended)

    assert counts == [2, 1]
    timed.validate(later)
    assert len(sessions(admin, live=True)) == 1
    kept = {account for account, key in keys(timed) if key}
    assert kept == {"id-user0"}
    assert [event[4] for event in ended_events(timed)] == [2, 2, 1]
    assert {event[1:4] for event in ended_events(timed)} == {(DEMO_APP_ID, None, None)}
    # A repetition finds nothing, and says so without an event.
    again = end(admin, app_id=DEMO_APP_ID, continue_token=first.continue_token)
    assert (again.sessions_ended, again.more) == (0, False)
    assert len(ended_events(timed)) == 3


@pytest.mark.parametrize(
    ("scope", "field"),
    [
        ({}, "scope"),
        ({"session_handle": ""}, "session_handle"),
        ({"session_handle": "A" * 23}, "session_handle"),
        ({"app_id": ""}, "app_id"),
        ({"app_id": "w" * 65}, "app_id"),
        ({"session_handle": "A" * 22, "continue_token": "1"}, "continue_token"),
        ({"app_id": DEMO_APP_ID, "continue_token": "x"}, "continue_token"),
        ({"app_id": DEMO_APP_ID, "continue_token": "-1"}, "continue_token"),
        ({"app_id": DEMO_APP_ID, "continue_token": "999999999999999"}, "continue_token"),
        ({"app_id": DEMO_APP_ID, "continue_token": "1" * 99}, "continue_token"),
    ],
    ids=str,
)
def test_what_is_no_scope(
    timed: RunningServer, admin: AdminCaller, scope: dict[str, str], field: str
) -> None:
    timed.bound("zhangsan", PASSWORD)
    refusal = refused(lambda: end(admin, **scope))
    assert (refusal.reason, set(refusal.violations)) == ("REQUEST_INVALID", {field})
    assert len(sessions(admin, live=True)) == 1


def test_a_session_begun_while_the_app_is_not_configured_can_be_ended(
    timed: RunningServer, admin: AdminCaller
) -> None:
    timed.bound("zhangsan", PASSWORD)
    timed.store.write(lambda tx: tx.execute("UPDATE sessions SET app_id = 'wx9'"))
    [session] = sessions(admin)
    mistyped = refused(lambda: end(admin, app_id="wx99"))
    assert (mistyped.reason, set(mistyped.violations)) == ("REQUEST_INVALID", {"app_id"})
    assert end(admin, session_handle=session.session_handle).sessions_ended == 0
    for _ in range(2):  # all of it, and again after a lost answer
        assert end(admin, app_id="wx9").sessions_ended == 0
    assert timed.rows("SELECT ended_cause FROM sessions") == [("ADMIN",)]
