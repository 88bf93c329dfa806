"""A role lets a caller ask; whose session it asks with still decides."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.canary import CANARY
from tests.rpc.known_callers import a_token, bearer, caller, write_callers
from tests.running_server import Refusal, RunningServer, refused, running_server
from tests.sandbox_server import RunningSandbox
from wxauth.v1.auth_service_pb2 import (
    DeleteAccountRequest,
    ListSessionsRequest,
    LoginRequest,
    LogoutRequest,
    RevokeSessionRequest,
    UnbindRequest,
    ValidateSessionRequest,
)
from wxauth.v1.auth_service_pb2_grpc import AuthServiceStub
from wxauth.v1.wechat_service_pb2 import ResetSessionKeyRequest
from wxauth.v1.wechat_service_pb2_grpc import WeChatServiceStub
from wxauth_server.callers.caller import Role

PASSWORD = "correct horse battery"


@dataclass
class Caller:
    """Calls with its token."""

    server: RunningServer
    token: str

    def __getattr__(self, method: str) -> Any:
        stubs = AuthServiceStub(self.server.channel), WeChatServiceStub(self.server.channel)
        rpc = next(getattr(stub, method) for stub in stubs if hasattr(stub, method))
        return lambda request: rpc(request, timeout=10, metadata=bearer(self.token))

    def is_live(self, session_id: str) -> bool:
        return bool(self.ValidateSession(ValidateSessionRequest(session_id=session_id)).openid)


@pytest.fixture
def company(
    tmp_path: Path, sandbox: RunningSandbox, server_loop: asyncio.AbstractEventLoop
) -> Iterator[dict[str, Caller]]:
    """A caller of each role."""
    tokens = {role.value: a_token() for role in Role}
    file = tmp_path / "callers.json"
    write_callers(file, *(caller(role, role, token=tokens[role]) for role in Role))
    with running_server(
        tmp_path / "data",
        sandbox,
        server_loop,
        grpc={"require_callers": True},
        callers={"file": file},
    ) as server:
        yield {name: Caller(server, token) for name, token in tokens.items()}


def log_in(gateway: Caller, username: str) -> tuple[str, str, str]:
    """The WeChat user, its session, and the handle of that."""
    server, user = gateway.server, gateway.server.new_user()
    server.add_account(username, PASSWORD)
    request = LoginRequest(code=server.code(user), username=username, password=PASSWORD)
    session_id = CANARY.keep(gateway.Login(request).session_id)
    answer = gateway.ValidateSession(ValidateSessionRequest(session_id=session_id))
    return user, session_id, answer.session_handle


def test_a_gateway_with_one_users_session_cannot_touch_anothers(
    company: dict[str, Caller],
) -> None:
    gateway = company["gateway"]
    _, mine, _ = log_in(gateway, "zhangsan")
    other, theirs, their_handle = log_in(gateway, "lisi")

    request = RevokeSessionRequest(session_id=mine, session_handle=their_handle)
    refusal = refused(lambda: gateway.RevokeSession(request))
    assert set(refusal.violations) == {"session_handle"}
    code = gateway.server.code(other)
    refusal = refused(lambda: gateway.Unbind(UnbindRequest(session_id=mine, code=code)))
    assert refusal.reason == "PROOF_INVALID"
    code = gateway.server.code(other)
    refusal = refused(
        lambda: gateway.DeleteAccount(DeleteAccountRequest(session_id=mine, code=code))
    )
    assert refusal.reason == "PROOF_INVALID"
    assert gateway.is_live(mine)
    assert gateway.is_live(theirs)


@pytest.mark.parametrize("role", ["service", "admin"])
def test_other_roles_end_no_session_though_they_have_it(
    company: dict[str, Caller], role: str
) -> None:
    gateway, other = company["gateway"], company[role]
    user, session_id, handle = log_in(gateway, "zhangsan")
    code = gateway.server.code(user)

    def refusal_of(method: str, request: Any) -> Refusal:
        return refused(lambda: getattr(other, method)(request))

    for method, request in (
        ("Login", LoginRequest(code=code)),
        ("Unbind", UnbindRequest(session_id=session_id, code=code)),
        ("Logout", LogoutRequest(session_id=session_id)),
        ("ListSessions", ListSessionsRequest(session_id=session_id)),
        ("RevokeSession", RevokeSessionRequest(session_id=session_id, session_handle=handle)),
        ("DeleteAccount", DeleteAccountRequest(session_id=session_id, password=PASSWORD)),
        ("ResetSessionKey", ResetSessionKeyRequest(session_id=session_id)),
    ):
        assert refusal_of(method, request).reason == "CALLER_FORBIDDEN", method
    assert gateway.is_live(session_id)
    assert gateway.Login(LoginRequest(code=code)).session_id, "the code was not spent"


def test_a_service_learns_whose_session_it_is(company: dict[str, Caller]) -> None:
    _, session_id, _ = log_in(company["gateway"], "zhangsan")
    answer = company["service"].ValidateSession(ValidateSessionRequest(session_id=session_id))
    assert answer.account.username == "zhangsan"
    refusal = refused(lambda: company["admin"].is_live(session_id))
    assert (refusal.reason, refusal.metadata) == ("CALLER_FORBIDDEN", {"caller": "admin"})
