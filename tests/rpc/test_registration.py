"""`unbound = "register"`: a WeChat user without an account gets a new one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.rpc.conftest import MALL, SHOP, Serve, app_of
from tests.running_server import RunningServer, refused
from tests.sandbox_server import RunningSandbox
from wxauth.v1.auth_service_pb2 import UnbindRequest

PASSWORD = "correct horse battery"


@pytest.fixture
def server(serve: Serve) -> RunningServer:
    return serve(unbound="register")


def test_a_first_login_registers(server: RunningServer) -> None:
    """Account, binding and session in one step; the account has an id and nothing else."""
    answer = server.login(code=server.code(server.new_user()))
    assert answer.bound_now
    assert answer.account.source == "local"
    assert len(answer.account.id) == 32
    assert (answer.account.username, answer.account.display_name) == ("", "")
    assert server.validate(answer.session_id).account == answer.account
    assert server.rows(
        "SELECT id, username, username_key, phone, password, disabled_at FROM accounts"
    ) == [(answer.account.id, None, None, None, None, None)]
    assert server.rows("SELECT event, account_id FROM audit_events ORDER BY id") == [
        (event, answer.account.id) for event in ("ACCOUNT_ADDED", "BOUND", "LOGIN")
    ]


def test_nothing_of_it_holds_without_the_rest(server: RunningServer) -> None:
    """A session that cannot be stored takes account and binding back with it."""
    server.store.write(
        lambda tx: tx.execute(
            """
            CREATE TRIGGER no_session BEFORE INSERT ON sessions
            BEGIN SELECT RAISE(ABORT, 'a fault of the test'); END
            """
        )
    )
    code = server.code(server.new_user())
    assert refused(lambda: server.login(code=code)).reason in {"STORE_UNAVAILABLE", "INTERNAL"}
    for table in ("accounts", "bindings", "sessions", "audit_events", "exchanges"):
        assert server.rows(f"SELECT COUNT(*) FROM {table}") == [(0,)]


def test_the_second_login_is_to_the_same_account(server: RunningServer) -> None:
    user = server.new_user()
    first = server.login(code=server.code(user))
    second = server.login(code=server.code(user))
    assert second.account == first.account
    assert not second.bound_now
    assert server.rows("SELECT COUNT(*) FROM accounts") == [(1,)]


def test_the_same_request_again_registers_once(server: RunningServer) -> None:
    request = {"code": server.code(server.new_user()), "request_id": server.new_request_id()}
    first = server.login(**request)
    assert server.login(**request) == first
    assert server.rows("SELECT COUNT(*) FROM accounts") == [(1,)]


def test_two_first_logins_at_once_register_once(server: RunningServer) -> None:
    """With two codes of one user: both end well, and in one account."""
    user = server.new_user()
    codes = [server.code(user) for _ in range(4)]
    with ThreadPoolExecutor(len(codes)) as pool:
        answers = list(pool.map(lambda code: server.login(code=code), codes))
    assert len({answer.account.id for answer in answers}) == 1
    assert [answer.bound_now for answer in answers].count(True) == 1
    assert server.rows("SELECT COUNT(*) FROM accounts") == [(1,)]


def test_other_users_are_other_accounts(server: RunningServer) -> None:
    ids = {server.login(code=server.code(server.new_user())).account.id for _ in range(5)}
    assert len(ids) == 5


def test_who_has_left_is_registered_anew(server: RunningServer) -> None:
    """The former account stays without anybody: it is the company's to delete."""
    user = server.new_user()
    first = server.login(code=server.code(user))
    request = UnbindRequest(session_id=first.session_id, code=server.code(user))
    server.stub.Unbind(request, timeout=10)
    second = server.login(code=server.code(user))
    assert second.bound_now
    assert second.account.id != first.account.id
    assert server.rows("SELECT account_id FROM bindings") == [(second.account.id,)]


def test_a_password_login_binds_to_the_account_it_names(server: RunningServer) -> None:
    server.add_account("zhangsan", PASSWORD)
    code = server.code(server.new_user())
    answer = server.login(code=code, username="zhangsan", password=PASSWORD)
    assert answer.account.id == "id-zhangsan"
    assert server.rows("SELECT COUNT(*) FROM accounts") == [(1,)]


def test_a_wrong_password_registers_nobody(server: RunningServer) -> None:
    server.add_account("zhangsan", PASSWORD)
    code = server.code(server.new_user())
    refusal = refused(
        lambda: server.login(code=code, username="zhangsan", password="not it at all")
    )
    assert refusal.reason == "CREDENTIALS_INVALID"
    assert server.rows("SELECT COUNT(*) FROM accounts") == [(1,)]
    assert server.rows("SELECT COUNT(*) FROM bindings") == [(0,)]


def test_who_was_registered_may_move_to_an_account_of_the_company(server: RunningServer) -> None:
    server.add_account("zhangsan", PASSWORD)
    user = server.new_user()
    registered = server.login(code=server.code(user))
    pair = {"username": "zhangsan", "password": PASSWORD}
    conflict = refused(lambda: server.login(code=server.code(user), **pair))
    assert conflict.reason == "OPENID_ALREADY_BOUND"
    server.login(code=server.code(user), **pair, rebind=True)
    assert refused(lambda: server.validate(registered.session_id)).metadata == {"cause": "REBOUND"}


def test_a_registered_account_that_is_disabled(server: RunningServer) -> None:
    """It is refused, and no other one is made to get around that."""
    user = server.new_user()
    first = server.login(code=server.code(user))
    server.accounts.disable(first.account.id)
    assert refused(lambda: server.login(code=server.code(user))).reason == "ACCOUNT_DISABLED"
    assert server.rows("SELECT COUNT(*) FROM accounts") == [(1,)]
    server.accounts.enable(first.account.id)
    assert server.login(code=server.code(user)).account == first.account


def test_a_registered_account_has_no_password_to_guess(server: RunningServer) -> None:
    """Not by its id, and not by an empty name."""
    registered = server.login(code=server.code(server.new_user()))
    for username in (registered.account.id, "None", "null"):
        code = server.code(server.new_user())
        refusal = refused(server.login, code=code, username=username, password=PASSWORD)
        assert refusal.reason == "CREDENTIALS_INVALID"


def test_a_registered_account_has_no_password_for_unbind(server: RunningServer) -> None:
    answer = server.login(code=server.code(server.new_user()))
    request = UnbindRequest(session_id=answer.session_id, password=PASSWORD)
    assert refused(lambda: server.stub.Unbind(request, timeout=10)).reason == "PROOF_INVALID"


def test_a_sibling_comes_before_a_new_account(
    serve: Serve, wechat_of_three: RunningSandbox
) -> None:
    """The person is known: a second account would be one too many."""
    registering = {"open_platform": "co", "unbound": "register"}
    server = serve(
        apps=[app_of(SHOP, **registering), app_of(MALL, **registering)], wechat=wechat_of_three
    )
    user = server.new_user()
    accounts = {
        server.login(app_id=app.app_id, code=server.code(user, app.app_id)).account.id
        for app in (SHOP, MALL)
    }
    assert len(accounts) == 1


def test_without_the_setting_nobody_is_registered(timed: RunningServer) -> None:
    code = timed.code(timed.new_user())
    assert refused(lambda: timed.login(code=code)).reason == "BINDING_REQUIRED"
    assert timed.rows("SELECT COUNT(*) FROM accounts") == [(0,)]


# --- With a phone number -------------------------------------------------------


def test_a_phone_number_that_wechat_confirms_is_kept_as_verified(serve: Serve) -> None:
    server = serve(unbound="register", bind_by_phone=True)
    user = server.new_user()
    answer = server.login(code=server.code(user), phone_code=server.phone_code(user, "13912340001"))
    assert answer.bound_now
    now_ms = server.clock.now_ms()
    assert server.rows("SELECT phone, phone_verified_at FROM accounts") == [
        ("+8613912340001", now_ms)
    ]
    # From another phone with the same number: it is one person, but one account for one user.
    other = server.new_user()
    refusal = refused(
        lambda: server.login(
            code=server.code(other), phone_code=server.phone_code(other, "13912340001")
        )
    )
    assert refusal.reason == "BINDING_REQUIRED"
    assert server.rows("SELECT COUNT(*) FROM accounts") == [(1,)]


@pytest.mark.parametrize("case", ["one", "two", "disabled", "unverified"])
def test_a_number_that_somebody_has(serve: Serve, case: str) -> None:
    """A new account only for a number that no account has as its verified one."""
    server = serve(unbound="register", bind_by_phone=True)
    phone = "+8613912340002"
    verified = case != "unverified"
    server.add_account("zhangsan", None, phone=phone, phone_verified=verified)
    if case == "two":
        server.add_account("lisi", None, phone=phone, phone_verified=True)
    if case == "disabled":
        server.accounts.disable("id-zhangsan")
    before = server.rows("SELECT COUNT(*) FROM accounts")
    user = server.new_user()
    request = {
        "code": server.code(user),
        "phone_code": server.phone_code(user, "13912340002"),
    }
    if case in ("two", "disabled"):
        assert refused(lambda: server.login(**request)).reason == "BINDING_REQUIRED"
        assert server.rows("SELECT COUNT(*) FROM accounts") == before
    else:
        account_id = server.login(**request).account.id
        assert (account_id == "id-zhangsan") is (case == "one")


def test_a_bad_phone_code_registers_nobody(serve: Serve) -> None:
    server = serve(unbound="register", bind_by_phone=True)
    code = server.code(server.new_user())
    refusal = refused(lambda: server.login(code=code, phone_code="0" * 64))
    assert (refusal.reason, refusal.metadata) == ("CODE_INVALID", {"field": "phone_code"})
    assert server.rows("SELECT COUNT(*) FROM accounts") == [(0,)]
