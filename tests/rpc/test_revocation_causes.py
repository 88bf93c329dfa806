"""Every way that ends a session before its time tells the revocation log, in its transaction."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from tests.admin_caller import AdminCaller, admin_of, by_id
from tests.rpc.conftest import Serve
from tests.rpc.leaving import delete, logged_in, purge
from tests.running_server import FakeClock, RunningServer, refused
from wxauth.v1.admin_service_pb2 import (
    DisableAccountRequest,
    EndBindingRequest,
    EndSessionsRequest,
    SetPasswordRequest,
)
from wxauth.v1.auth_service_pb2 import (
    ListSessionsRequest,
    LogoutRequest,
    RevokeSessionRequest,
    UnbindRequest,
)
from wxauth_server.auth import manage_sessions
from wxauth_server.auth.purge import END_OF_APP_LEFT_MS, REVOCATION_KEPT_MS
from wxauth_server.config import DEMO_APP_ID
from wxauth_server.session_id import session_digest
from wxauth_server.store.revocation_log import LoggedRevocation, end_of_log, read_log
from wxauth_server.store.sessions import Cause

PASSWORD = "correct horse battery"
#: Ends the session of a WeChat user: how, given the user's name, the user and the session.
End = Callable[[RunningServer, str, str, str], object]


def logged(server: RunningServer, after: int = 0) -> list[LoggedRevocation]:
    return server.store.read(lambda tx: read_log(tx, after=after, limit=999))


def log_out(server: RunningServer, name: str, user: str, session_id: str) -> None:
    server.stub.Logout(LogoutRequest(session_id=session_id), timeout=10)


def revoke_from_elsewhere(server: RunningServer, name: str, user: str, session_id: str) -> None:
    handle = server.validate(session_id).session_handle
    request = RevokeSessionRequest(session_id=logged_in(server, user), session_handle=handle)
    server.stub.RevokeSession(request, timeout=10)


def unbind(server: RunningServer, name: str, user: str, session_id: str) -> None:
    request = UnbindRequest(session_id=session_id, code=server.code(user))
    server.stub.Unbind(request, timeout=10)


def end_binding(server: RunningServer, name: str, user: str, session_id: str) -> None:
    openid = server.validate(session_id).openid
    admin_of(server).EndBinding(EndBindingRequest(app_id=DEMO_APP_ID, openid=openid))


def rebind(server: RunningServer, name: str, user: str, session_id: str) -> None:
    pair = {"username": name, "password": PASSWORD, "rebind": True}
    logged_in(server, server.new_user(), **pair)


def log_in_too_often(server: RunningServer, name: str, user: str, session_id: str) -> None:
    for _ in range(3):
        logged_in(server, user)


def leave(server: RunningServer, name: str, user: str, session_id: str) -> None:
    delete(server, session_id, code=server.code(user))


def by_admin(act: Callable[[AdminCaller, str, str], Any]) -> End:
    def end(server: RunningServer, name: str, user: str, session_id: str) -> object:
        handle = server.validate(session_id).session_handle
        return act(admin_of(server), f"id-{name}", handle)

    return end


WAYS: list[tuple[Cause, End]] = [
    (Cause.LOGOUT, log_out),
    (Cause.LOGOUT, revoke_from_elsewhere),
    (Cause.UNBOUND, unbind),
    (Cause.UNBOUND, end_binding),
    (Cause.REBOUND, rebind),
    (Cause.REPLACED, log_in_too_often),
    (Cause.ACCOUNT_DELETED, leave),
    (
        Cause.PASSWORD_CHANGED,
        by_admin(
            lambda admin, account, _: admin.SetPassword(
                SetPasswordRequest(account=by_id(account), password="another one")
            )
        ),
    ),
    (
        Cause.ACCOUNT_DISABLED,
        by_admin(
            lambda admin, account, _: admin.DisableAccount(
                DisableAccountRequest(account=by_id(account))
            )
        ),
    ),
    (
        Cause.ADMIN,
        by_admin(
            lambda admin, account, _: admin.EndSessions(EndSessionsRequest(account=by_id(account)))
        ),
    ),
    (
        Cause.ADMIN,
        by_admin(
            lambda admin, _, handle: admin.EndSessions(EndSessionsRequest(session_handle=handle))
        ),
    ),
]


def test_every_cause_is_logged(serve: Serve, clock: FakeClock) -> None:
    """The session that ended, and none that did not."""
    server = serve(session_limit=3)
    bystander = logged_in(server, server.bound("bystander"))
    assert {cause for cause, _ in WAYS} == set(Cause)
    for number, (cause, end) in enumerate(WAYS):
        name = f"user{number}"
        user = server.new_user()
        server.add_account(name, PASSWORD)
        session_id = logged_in(server, user, username=name, password=PASSWORD)
        known = server.store.read(end_of_log).position
        clock.ms += 1
        end(server, name, user, session_id)
        refusal = refused(partial(server.validate, session_id))
        assert (refusal.reason, refusal.metadata) == ("SESSION_REVOKED", {"cause": cause})
        entries = logged(server, known)
        assert session_digest(session_id) in {entry.digest for entry in entries}, end
        ended = server.rows("SELECT digest FROM sessions WHERE ended_at IS NOT NULL")
        assert {entry.digest for entry in logged(server)} == {digest for (digest,) in ended}
    server.validate(bystander)


def test_an_app_ends_at_once(serve: Serve, clock: FakeClock, monkeypatch: Any) -> None:
    """One entry, and everybody is refused after the first call, which marks one row of three.

    The purge finishes what its operator left, and forgets the log an hour later.
    """
    monkeypatch.setattr(manage_sessions, "ENDED_AT_ONCE", 1)
    server = serve()
    user = server.bound()
    sessions = [logged_in(server, user) for _ in range(2)]
    ended_ms = clock.ms
    answer = admin_of(server).EndSessions(EndSessionsRequest(app_id=DEMO_APP_ID))
    assert (answer.sessions_ended, answer.more) == (1, True)
    assert logged(server) == [(1, None, DEMO_APP_ID, ended_ms)]
    clock.ms += 1
    for session_id in sessions:
        ways: dict[str, Callable[[], object]] = {
            "ValidateSession": partial(server.validate, session_id),
            "Logout": partial(log_out, server, "", user, session_id),
            "Unbind": partial(unbind, server, "", user, session_id),
            "ListSessions": partial(
                server.stub.ListSessions, ListSessionsRequest(session_id=session_id), timeout=10
            ),
            "DeleteAccount": partial(leave, server, "", user, session_id),
        }
        for way, call in ways.items():
            refusal = refused(call)
            assert (refusal.reason, refusal.metadata) == ("SESSION_REVOKED", {"cause": "ADMIN"}), (
                way
            )
    later = logged_in(server, user)
    own = server.stub.ListSessions(ListSessionsRequest(session_id=later), timeout=10).sessions
    assert [each.current for each in own] == [True]
    clock.ms += END_OF_APP_LEFT_MS
    purge(server)
    assert server.rows("SELECT ended_at, ended_cause FROM sessions ORDER BY login_at") == (
        [(ended_ms, "ADMIN")] * 3 + [(None, None)]
    )
    assert server.rows("SELECT * FROM sessions_valid_after") == []
    clock.ms = ended_ms + REVOCATION_KEPT_MS + 1
    purge(server)
    assert len(logged(server)) == 1, "the newest stays"
    server.validate(later)
