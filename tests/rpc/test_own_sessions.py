"""ListSessions and RevokeSession over a socket: a user's own devices, and nobody else's."""

from __future__ import annotations

import secrets
from functools import partial

import grpc
import pytest

from tests.rpc.conftest import MALL, SHOP, Serve, app_of
from tests.running_server import FakeClock, RunningServer, refused
from tests.sandbox_server import RunningSandbox
from wxauth.v1.auth_service_pb2 import (
    ClientInfo,
    ListSessionsRequest,
    LogoutRequest,
    OwnSession,
    RevokeSessionRequest,
)
from wxauth_server.auth.own_sessions import neighbourhood_of
from wxauth_server.config import DEMO_APP_ID
from wxauth_server.store.interface import Transaction
from wxauth_server.store.sessions import SessionRecord, insert_session

DAY_MS = 86_400_000
PASSWORD = "correct horse battery"
NOT_HERE = {"session_handle": "this account has no session with this handle here"}


def listed(server: RunningServer, session_id: str) -> list[OwnSession]:
    request = ListSessionsRequest(session_id=session_id)
    return list(server.stub.ListSessions(request, timeout=10).sessions)


def revoke(server: RunningServer, session_id: str, handle: str) -> None:
    request = RevokeSessionRequest(session_id=session_id, session_handle=handle)
    server.stub.RevokeSession(request, timeout=10)


def handle_of(server: RunningServer, session_id: str) -> str:
    return server.validate(session_id).session_handle


def test_the_list_is_what_a_user_recognises(timed: RunningServer, clock: FakeClock) -> None:
    """Newest first, the one that asks marked, with nothing that opens or finds anything."""
    user = timed.bound()
    clock.ms += 1_000
    phone = ClientInfo(address="203.0.113.77", user_agent="MicroMessenger", device="iPhone 15")
    old = timed.login(code=timed.code(user), client=phone).session_id
    clock.ms += 3_600_000
    new = timed.login(code=timed.code(user)).session_id
    timed.validate(old)
    timed.flush()
    newest, asking, first = listed(timed, old)
    assert (newest.session_handle, newest.current) == (handle_of(timed, new), False)
    assert (newest.device, newest.user_agent, newest.network) == ("", "", "")
    assert newest.login_time.ToMilliseconds() == clock.ms
    assert (asking.session_handle, asking.current) == (handle_of(timed, old), True)
    assert (asking.device, asking.user_agent) == ("iPhone 15", "MicroMessenger")
    assert asking.network == "203.0.113.0/24"
    assert asking.login_time.ToMilliseconds() == clock.ms - 3_600_000
    assert asking.last_seen_time.ToMilliseconds() == clock.ms
    assert asking.idle_expire_time.ToMilliseconds() == clock.ms + 7 * DAY_MS
    assert asking.absolute_expire_time.ToMilliseconds() == clock.ms - 3_600_000 + 30 * DAY_MS
    assert not first.current


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.77", "203.0.113.0/24"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1::/48"),
        ("::ffff:198.51.100.9", "198.51.100.0/24"),
        ("fe80::1%eth0", "fe80::/48"),
        ("::1", "::/48"),
        ("", ""),
        ("not an address", ""),
        ("203.0.113.77/24", ""),
    ],
)
def test_networks(address: str, network: str) -> None:
    assert neighbourhood_of(address) == network


def test_the_list_ends_at_a_hundred(timed: RunningServer, clock: FakeClock) -> None:
    """The newest of them."""
    session_id = timed.login(code=timed.code(timed.bound())).session_id
    [(account_id, openid)] = timed.rows("SELECT DISTINCT account_id, openid FROM sessions")

    def start(tx: Transaction) -> None:
        for number in range(101):
            session = SessionRecord.beginning(
                digest=secrets.token_bytes(32),
                handle=f"{number:022}",
                app_id=DEMO_APP_ID,
                openid=openid,
                account=("local", account_id),
                now_ms=clock.ms + 100 - number,
            )
            assert insert_session(tx, session)

    timed.store.write(start)
    assert [own.session_handle for own in listed(timed, session_id)] == [
        f"{number:022}" for number in range(100)
    ]


def test_the_account_has_many_wechat_users(serve: Serve) -> None:
    """A family's phones see each other; another account's are not there."""
    server = serve(several_users_per_account=True)
    server.bound("lisi")
    mine = server.login(code=server.code(server.bound())).session_id
    spouse = server.login(
        code=server.code(server.new_user()), username="zhangsan", password=PASSWORD
    ).session_id
    assert len(listed(server, spouse)) == 3
    revoke(server, spouse, handle_of(server, mine))
    assert refused(lambda: server.validate(mine)).metadata == {"cause": "LOGOUT"}
    assert len(listed(server, spouse)) == 2


def test_revoke_ends_one_session(server: RunningServer) -> None:
    """Once: to repeat it is success and leaves one event, with the handle of what ended."""
    user = server.bound()
    mine, lost = (server.login(code=server.code(user)).session_id for _ in range(2))
    handle = handle_of(server, lost)
    revoke(server, mine, handle)
    assert refused(lambda: server.validate(lost)).metadata == {"cause": "LOGOUT"}
    revoke(server, mine, handle)
    server.validate(mine)
    assert server.rows(
        "SELECT session_handle, account_id FROM audit_events WHERE event = 'SESSION_REVOKED'"
    ) == [(handle, "id-zhangsan")]


def test_a_session_may_end_itself(server: RunningServer) -> None:
    user = server.bound()
    session_id = server.login(code=server.code(user)).session_id
    handle = handle_of(server, session_id)
    revoke(server, session_id, handle)
    refusal = refused(lambda: revoke(server, session_id, handle))
    assert (refusal.reason, refusal.metadata) == ("SESSION_REVOKED", {"cause": "LOGOUT"})


def test_an_expired_session_has_ended(serve: Serve, clock: FakeClock) -> None:
    """It is success, keeps what it is told, and leaves no event."""
    server = serve(session_idle_s=3600, session_absolute_s=7200)
    user = server.bound()
    idle = server.login(code=server.code(user)).session_id
    handle = handle_of(server, idle)
    clock.ms += 3_600_000
    session_id = server.login(code=server.code(user)).session_id
    revoke(server, session_id, handle)
    assert refused(lambda: server.validate(idle)).reason == "SESSION_EXPIRED"
    assert ("SESSION_REVOKED", None) not in server.events()


def test_the_session_key_goes_with_the_last_session(serve: Serve) -> None:
    """Of the WeChat user whose session ended, whoever of the account asked for it."""
    server = serve(several_users_per_account=True)
    user = server.bound()
    others = [server.login(code=server.code(user)).session_id]
    others.extend(own.session_handle for own in listed(server, others[0]) if not own.current)
    session_id = server.login(
        code=server.code(server.new_user()), username="zhangsan", password=PASSWORD
    ).session_id

    def keys() -> list[tuple[int]]:
        return server.rows("SELECT COUNT(session_key) FROM bindings")

    revoke(server, session_id, handle_of(server, others[0]))
    assert keys() == [(2,)]
    revoke(server, session_id, others[1])
    assert keys() == [(1,)]


def test_the_handle_of_somebody_else(server: RunningServer) -> None:
    """As that of nobody: who guesses learns nothing, and it lives on."""
    mine = server.login(code=server.code(server.bound())).session_id
    theirs = server.login(code=server.code(server.bound("lisi"))).session_id
    for handle in (handle_of(server, theirs), secrets.token_urlsafe(16)):
        refusal = refused(partial(revoke, server, mine, handle))
        assert refusal.code == grpc.StatusCode.INVALID_ARGUMENT
        assert refusal.violations == NOT_HERE
    server.validate(theirs)


def test_the_handle_of_another_mini_program(serve: Serve, wechat_of_three: RunningSandbox) -> None:
    """What is seen and ended there is not seen and ended here, though it is one account."""
    server = serve(apps=[app_of(SHOP), app_of(MALL)], wechat=wechat_of_three)
    server.add_account("zhangsan", PASSWORD)
    user = server.new_user()
    shop, mall = (
        server.login(
            app_id=app.app_id,
            code=server.code(user, app.app_id),
            username="zhangsan",
            password=PASSWORD,
        ).session_id
        for app in (SHOP, MALL)
    )
    refusal = refused(lambda: revoke(server, shop, handle_of(server, mall)))
    assert refusal.violations == NOT_HERE
    assert [own.session_handle for own in listed(server, mall)] == [handle_of(server, mall)]


@pytest.mark.parametrize(
    ("handle", "problem"),
    [
        ("", "required"),
        ("a" * 21, "not 22 letters, digits, - and _"),
        ("a" * 23, "not 22 letters, digits, - and _"),
        ("a" * 21 + "\n", "not 22 letters, digits, - and _"),
        ("a" * 21 + "é", "not 22 letters, digits, - and _"),
    ],
)
def test_what_is_no_handle(server: RunningServer, handle: str, problem: str) -> None:
    session_id = server.login(code=server.code(server.bound())).session_id
    refusal = refused(lambda: revoke(server, session_id, handle))
    assert refusal.violations == {"session_handle": problem}


def test_a_dead_session_sees_and_ends_nothing(server: RunningServer) -> None:
    user = server.bound()
    dead, live = (server.login(code=server.code(user)).session_id for _ in range(2))
    handle = handle_of(server, live)
    server.stub.Logout(LogoutRequest(session_id=dead), timeout=10)
    for call in (lambda: listed(server, dead), lambda: revoke(server, dead, handle)):
        refusal = refused(call)
        assert (refusal.reason, refusal.metadata) == ("SESSION_REVOKED", {"cause": "LOGOUT"})
    server.validate(live)


@pytest.mark.parametrize("session_id", ["", "nonsense", "x" * 10_000])
def test_what_is_no_session(server: RunningServer, session_id: str) -> None:
    reason = "SESSION_INVALID" if session_id else "REQUEST_INVALID"
    assert refused(lambda: listed(server, session_id)).reason == reason
    assert refused(lambda: revoke(server, session_id, "a" * 22)).reason == reason
