"""The audit log says which operator it was: by its token, or by its certificate."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.admin_caller import PASSWORD, AdminCaller, by_id, token_of
from tests.canary import CANARY
from tests.certificates import Authority
from tests.rpc.admin_acts import CHANGES
from tests.rpc.conftest import Serve
from tests.running_server import FakeClock, RunningServer, refused, running_server
from tests.sandbox_server import RunningSandbox
from wxauth.v1 import admin_service_pb2
from wxauth.v1.admin_service_pb2 import (
    AdminServiceListSessionsRequest,
    CreateAccountRequest,
    EndBindingRequest,
    EndSessionsRequest,
    ImportAccountsRequest,
    ImportedAccount,
    ListAuditEventsRequest,
    ListBindingsRequest,
    SetPhoneRequest,
    UnlockAccountRequest,
)
from wxauth_server.callers.caller import Caller, CallerBook, CallerToken, Role
from wxauth_server.callers.callers_file import changing_callers
from wxauth_server.callers.tokens import CALLER_PREFIX, digest_of, new_token
from wxauth_server.config import DEMO_APP_ID

LAPTOP, DESK, SERVER = "ops-laptop", "ops-desk", "admin.token"
ADMIN = frozenset({Role.ADMIN})


def end_a_session(admin: AdminCaller) -> None:
    listed = admin.ListSessions(AdminServiceListSessionsRequest(live=True)).sessions
    admin.EndSessions(EndSessionsRequest(session_handle=listed[0].session_handle))


def end_a_binding(admin: AdminCaller) -> None:
    [binding] = admin.ListBindings(ListBindingsRequest()).bindings
    admin.EndBinding(EndBindingRequest(app_id=binding.app_id, openid=binding.openid))


#: What an operator does to the account of `live`, in an order in which each does
#: something, and the event of it.
DONE: dict[str, tuple[Callable[[AdminCaller], Any], str]] = {
    "CreateAccount": (
        lambda admin: admin.CreateAccount(CreateAccountRequest(id="2", username="lisi")),
        "ACCOUNT_ADDED",
    ),
    "ImportAccounts": (
        lambda admin: admin.ImportAccounts(
            ImportAccountsRequest(accounts=[ImportedAccount(id="3", username="wangwu")])
        ),
        "ACCOUNTS_IMPORTED",
    ),
    "UnlockAccount": (
        lambda admin: admin.UnlockAccount(UnlockAccountRequest(username="zhangsan")),
        "UNLOCKED",
    ),
    "SetPhone": (
        lambda admin: admin.SetPhone(SetPhoneRequest(account=by_id("1"), phone="+8613800138000")),
        "PHONE_SET",
    ),
    "EndSessions of one": (end_a_session, "SESSIONS_ENDED"),
    "EndSessions of an app": (
        lambda admin: admin.EndSessions(EndSessionsRequest(app_id=DEMO_APP_ID)),
        "SESSIONS_ENDED",
    ),
    "EndBinding": (end_a_binding, "UNBOUND"),
    "SetPassword": (lambda admin: CHANGES["SetPassword"](admin, by_id("1")), "PASSWORD_SET"),
    "SetUsername": (lambda admin: CHANGES["SetUsername"](admin, by_id("1")), "USERNAME_SET"),
    "DisableAccount": (
        lambda admin: CHANGES["DisableAccount"](admin, by_id("1")),
        "ACCOUNT_DISABLED",
    ),
    "EnableAccount": (lambda admin: CHANGES["EnableAccount"](admin, by_id("1")), "ACCOUNT_ENABLED"),
}
READS = {"GetAccount", "ListAccounts", "ListBindings", "ListSessions", "ListAuditEvents"}


def write_callers(path: Path, *callers: Caller) -> None:
    with changing_callers(path) as file:
        file.replace(CallerBook(callers))


def operator(name: str, ends_ms: int | None = None) -> tuple[Caller, str]:
    """An operator, and its token."""
    token = CANARY.keep(new_token(CALLER_PREFIX))
    return Caller(name, ADMIN, 1, tokens=(CallerToken(digest_of(token), 1, ends_ms),)), token


@pytest.fixture
def live(serve: Serve, tmp_path: Path) -> tuple[RunningServer, dict[str, AdminCaller]]:
    """A server that zhangsan has logged in to, and its operators.

    They prove themselves by a token, by a certificate, and by the server's own token.
    """
    authority = Authority(tmp_path)
    of_server, of_desk = authority.issue("127.0.0.1"), authority.issue("desk.internal")
    laptop, token = operator(LAPTOP)
    desk = Caller(DESK, ADMIN, 1, certificate_names=("desk.internal",))
    write_callers(tmp_path / "callers.json", laptop, desk)
    tls = {
        "certificate_file": of_server.certificate,
        "key_file": of_server.key,
        "client_ca_file": authority.ca,
    }
    credentials = grpc.ssl_channel_credentials(
        authority.ca.read_bytes(), of_desk.key.read_bytes(), of_desk.certificate.read_bytes()
    )
    server = serve(
        tables={
            "callers": {"file": tmp_path / "callers.json"},
            "grpc": {"tls": tls},
            "credentials": credentials,
        }
    )
    server.add_account("zhangsan", PASSWORD, account_id="1")
    user = server.new_user()
    for _ in range(3):
        server.login(code=server.code(user), username="zhangsan", password=PASSWORD)
    guess = {"username": "zhangsan", "password": CANARY.keep("wrong horse battery")}
    refused(lambda: server.login(code=server.code(server.new_user()), **guess))
    tokens = {LAPTOP: token, DESK: None, SERVER: token_of(server)}
    return server, {name: AdminCaller(server.channel, token) for name, token in tokens.items()}


def test_every_change_is_one_of_these() -> None:
    """A method that comes later is looked at too, or is said to be a read."""
    methods = admin_service_pb2.DESCRIPTOR.services_by_name["AdminService"].methods
    assert {name.split()[0] for name in DONE} | READS == {method.name for method in methods}


@pytest.mark.parametrize("name", [LAPTOP, DESK, SERVER])
def test_every_change_names_who_made_it(
    live: tuple[RunningServer, dict[str, AdminCaller]], name: str
) -> None:
    server, operators = live
    for what, (act, event) in DONE.items():
        act(operators[name])
        newest = server.rows(
            "SELECT event, actor, caller, client_address FROM audit_events ORDER BY id DESC LIMIT 1"
        )
        assert newest == [(event, "admin", name, "127.0.0.1")], what
    assert server.rows("SELECT COUNT(*) FROM audit_events WHERE actor = 'admin'") == [(len(DONE),)]
    others = server.rows("SELECT DISTINCT actor, caller FROM audit_events WHERE actor <> 'admin'")
    assert others == [("user", None)]


def test_the_log_of_one_operator(live: tuple[RunningServer, dict[str, AdminCaller]]) -> None:
    _, operators = live
    for number, name in enumerate([LAPTOP, DESK, LAPTOP, SERVER], start=10):
        operators[name].add(f"user{number}", f"{number}")

    def told(**wanted: Any) -> list[tuple[str, str]]:
        answer = operators[DESK].ListAuditEvents(ListAuditEventsRequest(**wanted))
        return [(event.caller, event.account_id) for event in answer.events]

    assert told(caller=LAPTOP) == [(LAPTOP, "12"), (LAPTOP, "10")]
    assert told(caller=LAPTOP, oldest_first=True, page_size=1) == [(LAPTOP, "10")]
    assert told(caller=SERVER, events=["ACCOUNT_ADDED"]) == [(SERVER, "13")]
    assert told(caller="nobody") == []
    assert {caller for caller, _ in told()} == {LAPTOP, DESK, SERVER, ""}


class EndingClock(FakeClock):
    """Passes the end of a token right after it was looked at."""

    ending = False

    def now_ms(self) -> int:
        now = self.ms
        self.ms += self.ending
        return now


def test_a_token_that_ends_during_its_call_does_nothing(
    tmp_path: Path, sandbox: RunningSandbox, server_loop: asyncio.AbstractEventLoop
) -> None:
    """Rather than something that nobody has done."""
    clock = EndingClock()
    laptop, token = operator(LAPTOP, ends_ms=clock.ms + 1)
    write_callers(tmp_path / "callers.json", laptop)
    callers = {"file": tmp_path / "callers.json"}
    with running_server(
        tmp_path / "data", sandbox, server_loop, clock=clock, callers=callers
    ) as server:
        admin = AdminCaller(server.channel, token)
        admin.add("zhangsan", "1")
        clock.ending = True
        assert refused(admin.add, "lisi", "2").reason == "CALLER_UNAUTHENTICATED"
        assert server.rows("SELECT caller, account_id FROM audit_events") == [(LAPTOP, "1")]
