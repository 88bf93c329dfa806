"""Accounts that live elsewhere: the company's own service and its own table decide."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import bcrypt
import grpc
import pytest

from tests.rpc.company import NAME, Company, running_company
from tests.rpc.conftest import MALL, SHOP, Serve, app_of
from tests.running_server import FakeClock, RunningServer, refused
from tests.sandbox_server import RunningSandbox
from wxauth.v1.auth_service_pb2 import DeleteAccountRequest, LoginRequest, UnbindRequest

RIGHT, WRONG = "correct horse battery", "wrong horse battery"


@pytest.fixture
def company() -> Iterator[Company]:
    with running_company() as company:
        company.employ("zhangsan", RIGHT, "u-1", display_name="Zhang San")
        yield company


@pytest.fixture
def server(serve: Serve, company: Company) -> RunningServer:
    """Its demo app takes the company's accounts."""
    return serve(account_source=NAME, tables={"account_sources": [company.source]})


def first_login(server: RunningServer, username: str = "zhangsan") -> tuple[str, str]:
    """A WeChat user who is bound now; the user and the SessionId."""
    user = server.new_user()
    answer = server.login(code=server.code(user), username=username, password=RIGHT)
    assert answer.bound_now
    return user, answer.session_id


def test_the_company_says_who_it_is(server: RunningServer, company: Company) -> None:
    user, session_id = first_login(server)
    account = server.validate(session_id).account
    assert (account.source, account.id) == (NAME, "u-1")
    assert (account.username, account.display_name) == ("zhangsan", "Zhang San")
    assert company.asked == [("/verify", {"username": "zhangsan", "password": RIGHT})]
    silent = server.login(code=server.code(user))
    assert not silent.bound_now
    assert silent.account == account
    assert company.asked[1:] == [("/get", {"id": "u-1"})]
    # A validation asks nobody.
    server.validate(silent.session_id)
    assert len(company.asked) == 2
    assert server.rows("SELECT password, username_key FROM accounts") == [(None, None)]


def test_who_is_locked_out_there_is_not_let_in_here(
    server: RunningServer, company: Company
) -> None:
    user, session_id = first_login(server)
    company.users["zhangsan"]["disabled"] = True
    refusal = refused(lambda: server.login(code=server.code(user)))
    assert (refusal.code, refusal.reason) == (
        grpc.StatusCode.PERMISSION_DENIED,
        "ACCOUNT_DISABLED",
    )
    with_password = refused(
        lambda: server.login(code=server.code(user), username="zhangsan", password=RIGHT)
    )
    assert with_password.reason == "CREDENTIALS_INVALID"
    # Sessions end when the company says so, through AdminService.
    server.validate(session_id)
    company.users["zhangsan"]["disabled"] = False
    server.login(code=server.code(user))


def test_who_is_gone_there_is_not_let_in_here(server: RunningServer, company: Company) -> None:
    user, _ = first_login(server)
    del company.users["zhangsan"]
    assert refused(lambda: server.login(code=server.code(user))).reason == "ACCOUNT_DISABLED"
    assert server.events()[-1] == ("LOGIN_REFUSED", "ACCOUNT_DISABLED")


def test_wrong_passwords_and_unknown_users_look_alike(server: RunningServer) -> None:
    refusals = {
        refused(
            server.login, code=server.code(server.new_user()), username=name, password=WRONG
        ).message
        for name in ("zhangsan", "nobody", "Zhang San with spaces")
    }
    assert refusals == {"Username or password is wrong."}


def test_guessing_is_held_back_before_the_company_is_asked(
    server: RunningServer, company: Company
) -> None:
    user = server.new_user()
    for _ in range(5):
        code = server.code(user)
        refused(server.login, code=code, username="zhangsan", password=WRONG)
    refusal = refused(
        lambda: server.login(code=server.code(user), username="zhangsan", password=RIGHT)
    )
    assert refusal.reason == "THROTTLED"
    assert len(company.asked) == 5


@pytest.mark.parametrize("with_password", [True, False])
def test_a_company_that_is_down_is_no_answer(
    server: RunningServer, company: Company, *, with_password: bool
) -> None:
    user, session_id = first_login(server)
    company.broken = True
    fields = {"code": server.code(user), "request_id": server.new_request_id()}
    if with_password:
        fields |= {"username": "zhangsan", "password": RIGHT}
    refusal = refused(lambda: server.login(**fields))
    assert (refusal.code, refusal.reason) == (
        grpc.StatusCode.UNAVAILABLE,
        "ACCOUNT_SOURCE_UNAVAILABLE",
    )
    assert refusal.retry_after_s is not None
    server.validate(session_id)
    company.broken = False
    # The same request goes on where it stopped: WeChat is not asked again.
    assert not server.login(**fields).bound_now
    # Nothing is held against the user for it.
    assert server.rows("SELECT failures FROM throttles WHERE failures + pending > 0") == []


def test_a_company_that_is_down_holds_one_password_against_nobody_twice(
    server: RunningServer, company: Company
) -> None:
    """Who tries the same again, has not guessed again."""
    company.broken = True
    user = server.new_user()
    for _ in range(8):
        fields = {"code": server.code(user), "username": "zhangsan", "password": RIGHT}
        assert refused(server.login, **fields).reason == "ACCOUNT_SOURCE_UNAVAILABLE"
    company.broken = False
    fields["code"] = server.code(user)
    assert server.login(**fields).bound_now


def test_a_company_that_answers_wrong_passwords_with_errors_is_no_oracle(
    server: RunningServer, company: Company
) -> None:
    """What may have been looked at counts for the guesser, and locks nobody's password."""
    company.broken = True
    user = server.new_user()
    reasons = []
    for number in range(6):
        code = server.code(user)
        fields = {"code": code, "username": "x", "password": f"{WRONG} {number}"}
        refusal = refused(server.login, **fields)
        reasons.append(refusal.reason)
    assert reasons == ["ACCOUNT_SOURCE_UNAVAILABLE"] * 5 + ["THROTTLED"]
    assert len(company.asked) == 5
    [(failures,)] = server.rows("SELECT failures FROM throttles WHERE openid = ''")
    assert failures == 0


@pytest.mark.parametrize("spelling", ["ZhangSan", "zhangsan  ", "zhāngsān", "zhang.san"])
def test_spellings_that_the_company_may_take_for_one_are_counted_as_one(
    server: RunningServer, spelling: str
) -> None:
    user = server.new_user()
    for name in ("zhangsan", spelling) * 3:
        code = server.code(user)
        refusal = refused(server.login, code=code, username=name, password=WRONG)
    assert refusal.reason == "THROTTLED"


def test_a_name_that_the_company_does_not_say_again_is_remembered(
    serve: Serve, company: Company
) -> None:
    server = serve(account_source=NAME, tables={"account_sources": [company.source]})
    user, _ = first_login(server)
    company.silent_about.add("username")
    session_id = server.login(code=server.code(user)).session_id
    assert server.validate(session_id).account.username == "zhangsan"
    server.stub.Unbind(UnbindRequest(session_id=session_id, password=RIGHT), timeout=10)


def test_a_refused_login_brings_nobody_back(server: RunningServer, company: Company) -> None:
    user, session_id = first_login(server)
    request = DeleteAccountRequest(session_id=session_id, password=RIGHT)
    server.stub.DeleteAccount(request, timeout=10)
    server.store.write(lambda tx: tx.execute("UPDATE accounts SET disabled_at = 1"))
    refusal = refused(
        lambda: server.login(code=server.code(user), username="zhangsan", password=RIGHT)
    )
    assert refusal.reason == "CREDENTIALS_INVALID"
    [(username, deleted_at)] = server.rows("SELECT username, deleted_at FROM accounts")
    assert username is None
    assert deleted_at is not None


def test_a_company_that_hangs_holds_up_nobody_else(server: RunningServer, company: Company) -> None:
    user, session_id = first_login(server)
    company.answers.clear()
    begun = time.monotonic()
    pending = server.stub.Login.future(_silent(server, user), timeout=10)
    while len(company.asked) < 2:
        assert time.monotonic() < begun + 5
        time.sleep(0.005)
    for _ in range(20):
        server.validate(session_id)
    assert not pending.done()
    refusal = refused(pending.result)
    assert refusal.reason == "ACCOUNT_SOURCE_UNAVAILABLE"
    assert time.monotonic() - begun < 3


def _silent(server: RunningServer, user: str) -> LoginRequest:
    return LoginRequest(code=server.code(user))


def test_new_names_reach_the_sessions_that_there_are(
    server: RunningServer, company: Company
) -> None:
    user, session_id = first_login(server)
    company.users["sanzhang"] = company.users.pop("zhangsan") | {"display_name": "San"}
    server.login(code=server.code(user))
    account = server.validate(session_id).account
    assert (account.username, account.display_name) == ("sanzhang", "San")


def test_a_name_may_go_to_another_account(server: RunningServer, company: Company) -> None:
    first_login(server)
    company.users["old"] = company.users.pop("zhangsan")
    company.employ("zhangsan", RIGHT, "u-2")
    _, session_id = first_login(server)
    assert server.validate(session_id).account.id == "u-2"


def test_unbinding_with_the_companys_password(server: RunningServer) -> None:
    user, session_id = first_login(server)

    def unbind(password: str) -> object:
        return server.stub.Unbind(
            UnbindRequest(session_id=session_id, password=password), timeout=10
        )

    assert refused(unbind, WRONG).reason == "PROOF_INVALID"
    unbind(RIGHT)
    assert refused(lambda: server.login(code=server.code(user))).reason == "BINDING_REQUIRED"


def test_an_operator_here_can_lock_out_too(server: RunningServer, company: Company) -> None:
    user, _ = first_login(server)
    server.store.write(lambda tx: tx.execute("UPDATE accounts SET disabled_at = 1"))
    asked = len(company.asked)
    assert refused(lambda: server.login(code=server.code(user))).reason == "ACCOUNT_DISABLED"
    assert len(company.asked) == asked
    refusal = refused(
        lambda: server.login(code=server.code(user), username="zhangsan", password=RIGHT)
    )
    assert refusal.reason == "CREDENTIALS_INVALID"


def test_a_sibling_is_confirmed_by_the_company(
    serve: Serve, company: Company, wechat_of_three: RunningSandbox
) -> None:
    server = serve(
        apps=[app_of(app, account_source=NAME, open_platform="company") for app in (SHOP, MALL)],
        wechat=wechat_of_three,
        tables={"account_sources": [company.source]},
    )
    user = server.new_user()
    server.login(
        app_id=SHOP.app_id,
        code=server.code(user, SHOP.app_id),
        username="zhangsan",
        password=RIGHT,
    )
    company.users["zhangsan"]["disabled"] = True
    refusal = refused(lambda: server.login(app_id=MALL.app_id, code=server.code(user, MALL.app_id)))
    assert refusal.reason == "ACCOUNT_DISABLED"
    assert server.rows(f"SELECT openid FROM bindings WHERE app_id = '{MALL.app_id}'") == []
    company.users["zhangsan"]["disabled"] = False
    assert server.login(app_id=MALL.app_id, code=server.code(user, MALL.app_id)).bound_now
    assert company.paths() == ["/verify", "/get", "/get"]


def test_a_binding_to_a_source_that_is_configured_no_more_lets_nobody_in(
    server: RunningServer, clock: FakeClock
) -> None:
    user, _ = first_login(server)
    server.store.write(
        lambda tx: tx.execute(
            "INSERT INTO accounts (source, id, password_version, created_at)"
            " VALUES ('former', 'x', 1, 1)"
        )
    )
    server.store.write(
        lambda tx: tx.execute("UPDATE bindings SET account_source = 'former', account_id = 'x'")
    )
    assert refused(lambda: server.login(code=server.code(user))).reason == "ACCOUNT_DISABLED"


def test_the_companys_table_is_read_in_place(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "company.db"
    stored = bcrypt.hashpw(RIGHT.encode(), bcrypt.gensalt(4, prefix=b"2a")).decode()
    with closing(sqlite3.connect(path)) as table, table:
        table.execute("CREATE TABLE users (uid INTEGER, login TEXT, pw TEXT, locked INTEGER)")
        table.execute("INSERT INTO users VALUES (7, 'zhangsan', ?, 0)", (stored,))
    columns = "SELECT uid AS id, login AS username, pw AS hash, locked AS disabled FROM users"
    server = serve(
        account_source="shop",
        tables={
            "account_sources": [
                {
                    "kind": "sql",
                    "name": "shop",
                    "url": f"sqlite:///{path}",
                    "verify_query": f"{columns} WHERE login = :username",
                    "get_query": f"{columns} WHERE uid = :id",
                }
            ]
        },
    )
    user, session_id = first_login(server)
    account = server.validate(session_id).account
    assert (account.source, account.id) == ("shop", "7")
    server.login(code=server.code(user))
    with closing(sqlite3.connect(path)) as table, table:
        table.execute("UPDATE users SET locked = 1")
    assert refused(lambda: server.login(code=server.code(user))).reason == "ACCOUNT_DISABLED"
