"""Every decision is exactly one event, in the transaction of what it tells (row 48)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.rpc.conftest import Serve
from tests.running_server import RunningServer, refused
from wxauth.v1.auth_service_pb2 import (
    ClientInfo,
    DeleteAccountRequest,
    ListSessionsRequest,
    LogoutRequest,
    RevokeSessionRequest,
    UnbindRequest,
)

PASSWORD, WRONG = "correct horse battery", "wrong horse battery"
ADDRESS = "203.0.113.7"

#: What happens, and the events of it: (event, reason), the newest last.
Decided = list[tuple[str, str | None]]


class Scene:
    """A WeChat user who is bound to zhangsan and has a session; the log is empty."""

    def __init__(self, server: RunningServer) -> None:
        self.server = server
        self.user = server.bound("zhangsan", PASSWORD)
        self.session = server.login(code=server.code(self.user)).session_id
        server.store.write(lambda tx: tx.execute("DELETE FROM audit_events"))

    def login(self, user: str = "", **fields: Any) -> str:
        client = ClientInfo(address=ADDRESS)
        code = fields.pop("code", "") or self.server.code(user or self.user)
        return self.server.login(code=code, client=client, **fields).session_id

    def refused(self, user: str = "", **fields: Any) -> None:
        refused(lambda: self.login(user, **fields))

    def stranger(self) -> str:
        return self.server.new_user()

    def bad_login(self, name: str, password: str) -> None:
        self.refused(self.stranger(), username=name, password=password)

    def replay(self) -> None:
        code = self.server.code(self.user)
        self.login(code=code)
        self.refused(code=code)

    def conflict(self) -> None:
        self.server.add_account("lisi", PASSWORD)
        self.refused(username="lisi", password=PASSWORD)

    def rebind(self) -> None:
        self.login(self.stranger(), username="zhangsan", password=PASSWORD, rebind=True)

    def repeat(self) -> None:
        asked = {"code": self.server.code(self.user), "request_id": self.server.new_request_id()}
        assert self.login(**asked) == self.login(**asked)

    def log_out(self, times: int = 1) -> None:
        self.server.stub.Logout(LogoutRequest(session_id=self.session), timeout=10)
        for _ in range(times - 1):
            refused(lambda: self.server.stub.Logout(LogoutRequest(session_id=self.session)))

    def unbind(self, **proof: str) -> None:
        request = UnbindRequest(session_id=self.session, **proof)
        self.server.stub.Unbind(request, timeout=10)

    def delete(self, **proof: str) -> None:
        request = DeleteAccountRequest(session_id=self.session, **proof)
        self.server.stub.DeleteAccount(request, timeout=10)

    def revoke(self, times: int = 1) -> None:
        stub = self.server.stub
        listed = stub.ListSessions(ListSessionsRequest(session_id=self.login()), timeout=10)
        request = RevokeSessionRequest(
            session_id=self.session, session_handle=listed.sessions[0].session_handle
        )
        for _ in range(times):
            stub.RevokeSession(request, timeout=10)

    def flush(self) -> None:
        """Write the counts now instead of within five seconds."""
        asyncio.run_coroutine_threadsafe(
            self.server.server.refusals.flush(), self.server.loop
        ).result(10)


CASES: dict[str, tuple[Callable[[Scene], object], Decided]] = {
    "a silent login": (Scene.login, [("LOGIN", None)]),
    "a login with the password again": (
        lambda scene: scene.login(username="zhangsan", password=PASSWORD),
        [("LOGIN", None)],
    ),
    "a login that binds": (
        lambda scene: (
            scene.server.add_account("lisi", PASSWORD),
            scene.login(scene.stranger(), username="lisi", password=PASSWORD),
        ),
        [("BOUND", None), ("LOGIN", None)],
    ),
    "a login that is repeated": (Scene.repeat, [("LOGIN", None)]),
    "a WeChat user without an account": (
        lambda scene: scene.refused(scene.stranger()),
        [("LOGIN_REFUSED", "BINDING_REQUIRED")],
    ),
    "a wrong password": (
        lambda scene: scene.bad_login("zhangsan", WRONG),
        [("LOGIN_REFUSED", "CREDENTIALS_INVALID")],
    ),
    "an unknown user": (
        lambda scene: scene.bad_login("nobody", WRONG),
        [("LOGIN_REFUSED", "CREDENTIALS_INVALID")],
    ),
    "an account that another WeChat user has": (
        lambda scene: scene.bad_login("zhangsan", PASSWORD),
        [("LOGIN_REFUSED", "ACCOUNT_ALREADY_BOUND")],
    ),
    "a WeChat user who has another account": (
        Scene.conflict,
        [("LOGIN_REFUSED", "OPENID_ALREADY_BOUND")],
    ),
    "a new WeChat user of an account": (
        Scene.rebind,
        [("REBOUND", None), ("BOUND", None), ("LOGIN", None)],
    ),
    "a code that WeChat does not know": (
        lambda scene: scene.refused(code="0" * 32),
        [("LOGIN_REFUSED", "CODE_INVALID")],
    ),
    "a code that is replayed": (
        Scene.replay,
        [("LOGIN", None), ("CODE_REPLAYED", "CODE_USED")],
    ),
    "a logout": (Scene.log_out, [("LOGOUT", None)]),
    "a logout that is repeated": (lambda scene: scene.log_out(times=3), [("LOGOUT", None)]),
    "an unbind by password": (lambda scene: scene.unbind(password=PASSWORD), [("UNBOUND", None)]),
    "an unbind by code": (
        lambda scene: scene.unbind(code=scene.server.code(scene.user)),
        [("UNBOUND", None)],
    ),
    "an unbind by somebody else": (
        lambda scene: refused(lambda: scene.unbind(code=scene.server.code(scene.stranger()))),
        [("UNBIND_REFUSED", "PROOF_INVALID")],
    ),
    "an unbind with a wrong password": (
        lambda scene: refused(lambda: scene.unbind(password=WRONG)),
        [("UNBIND_REFUSED", "PROOF_INVALID")],
    ),
    "a session that its owner ends": (
        Scene.revoke,
        [("LOGIN", None), ("SESSION_REVOKED", None)],
    ),
    "a session that its owner ends twice": (
        lambda scene: scene.revoke(times=2),
        [("LOGIN", None), ("SESSION_REVOKED", None)],
    ),
    "a user who leaves": (
        lambda scene: scene.delete(password=PASSWORD),
        [("ACCOUNT_DELETED", None)],
    ),
    "a user who leaves with a wrong password": (
        lambda scene: refused(lambda: scene.delete(password=WRONG)),
        [("DELETE_REFUSED", "PROOF_INVALID")],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_decision_is_one_event(server: RunningServer, case: str) -> None:
    scene = Scene(server)
    happens, decided = CASES[case]
    happens(scene)
    scene.flush()
    assert server.events() == decided
    assert {actor for (actor,) in server.rows("SELECT actor FROM audit_events")} == {"user"}


def test_a_session_that_makes_room_is_told_with_the_login(serve: Serve) -> None:
    scene = Scene(serve(session_limit=1))
    scene.login()
    assert scene.server.events() == [("SESSION_REPLACED", None), ("LOGIN", None)]


def test_a_disabled_account_is_a_refusal(server: RunningServer) -> None:
    scene = Scene(server)
    server.store.write(lambda tx: tx.execute("UPDATE accounts SET disabled_at = 1"))
    scene.refused()
    assert server.events() == [("LOGIN_REFUSED", "ACCOUNT_DISABLED")]


def test_a_password_that_is_put_out_of_use_is_told_once(
    server: RunningServer,
) -> None:
    """With the failure that did it, and never again."""
    scene = Scene(server)
    for _ in range(3):
        scene.bad_login("zhangsan", WRONG)
    server.store.write(lambda tx: tx.execute("UPDATE throttles SET failures = 99 WHERE openid=''"))
    for _ in range(2):
        scene.bad_login("zhangsan", WRONG)
    wrong = ("LOGIN_REFUSED", "CREDENTIALS_INVALID")
    assert server.events() == [wrong, wrong, wrong, wrong, ("PASSWORD_LOCKED", None), wrong]


def test_waits_are_counted(server: RunningServer) -> None:
    """One row however often somebody tries, and it says where from."""
    scene = Scene(server)
    user = scene.stranger()
    for _ in range(12):
        scene.refused(user, username="zhangsan", password=WRONG)
    scene.flush()
    assert server.events()[:5] == [("LOGIN_REFUSED", "CREDENTIALS_INVALID")] * 5
    throttled = server.rows(
        "SELECT reason, count, client_address FROM audit_events WHERE event = 'THROTTLED'"
    )
    assert sum(count for _, count, _ in throttled) == 7
    assert {(reason, address) for reason, _, address in throttled} == {("PASSWORD", ADDRESS)}
    assert len(throttled) <= 2, "a minute may end in between"
