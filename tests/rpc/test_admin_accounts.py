"""AdminService: what is known of an account is set."""

from __future__ import annotations

from typing import Any

from tests.admin_caller import PASSWORD, AdminCaller, by_id, by_name
from tests.canary import CANARY
from tests.running_server import FakeClock, RunningServer, refused
from wxauth.v1.admin_service_pb2 import (
    AccountDetails,
    GetAccountRequest,
    ImportAccountsRequest,
    ImportedAccount,
    SetPasswordRequest,
    SetPhoneRequest,
    SetUsernameRequest,
)

PHONE = "+8613800138000"


def get(admin: AdminCaller, account_id: str) -> AccountDetails:
    found: AccountDetails = admin.GetAccount(GetAccountRequest(account=by_id(account_id))).account
    return found


def last_event(server: RunningServer) -> tuple[Any, ...]:
    sql = "SELECT event, actor, account_id, count FROM audit_events ORDER BY id DESC LIMIT 1"
    return server.rows(sql)[0]


# --- Passwords ---------------------------------------------------------------


def test_another_password_ends_the_sessions_and_forgets_failures(
    timed: RunningServer, admin: AdminCaller
) -> None:
    user = timed.bound("zhangsan", PASSWORD)
    stranger = timed.new_user()
    session = timed.login(code=timed.code(user)).session_id
    for _ in range(5):  # then the stranger has to wait
        refused(
            lambda: timed.login(code=timed.code(stranger), username="zhangsan", password="wrong x")
        )
    wait = {"username": "zhangsan", "password": "a new horse battery"}
    assert refused(lambda: timed.login(code=timed.code(stranger), **wait)).reason == "THROTTLED"

    request = SetPasswordRequest(
        account=by_name("ZhangSan"), password=CANARY.keep(wait["password"])
    )
    answer = admin.SetPassword(request)

    assert answer.sessions_ended == 2
    assert answer.account == get(admin, "id-zhangsan")
    dead = refused(lambda: timed.validate(session))
    assert dead.metadata == {"cause": "PASSWORD_CHANGED"}
    assert last_event(timed) == ("PASSWORD_SET", "admin", "id-zhangsan", 1)
    # The password is right, and nobody waits: only the other WeChat user is in the way.
    refusal = refused(lambda: timed.login(code=timed.code(stranger), **wait))
    assert refusal.reason == "ACCOUNT_ALREADY_BOUND"


def test_a_session_can_go_on(timed: RunningServer, admin: AdminCaller, clock: FakeClock) -> None:
    user = timed.bound("zhangsan", PASSWORD)
    other = timed.login(code=timed.code(user)).session_id
    mine = timed.login(code=timed.code(user)).session_id
    handle = timed.validate(mine).session_handle

    def change(kept: str, account_id: str = "id-zhangsan") -> Any:
        request = SetPasswordRequest(account=by_id(account_id), password="a new horse battery")
        request.keep_session_handle = kept
        return admin.SetPassword(request)

    assert change(handle).sessions_ended == 2
    assert timed.validate(mine).session_handle == handle
    refused(lambda: timed.validate(other))
    # It still has what WeChat gave for it.
    [(key,)] = timed.rows("SELECT session_key IS NOT NULL FROM bindings")
    assert key

    admin.add("lisi", "2")
    problem = {"keep_session_handle": "no live session of this account"}
    for kept, account_id in ((handle, "2"), ("A" * 22, "id-zhangsan")):
        assert refused(change, kept, account_id).violations == problem
    clock.ms += 8 * 86_400_000  # past its idle limit
    assert refused(change, handle).violations == problem
    too_long = refused(change, "A" * 23)
    assert too_long.violations == {"keep_session_handle": "longer than 22 bytes"}


def test_a_password_that_cannot_be_set(timed: RunningServer, admin: AdminCaller) -> None:
    session = timed.login(code=timed.code(timed.bound("zhangsan", PASSWORD))).session_id
    for fields, field in (
        ({}, "secret"),
        ({"password": ""}, "password"),
        ({"password": "short"}, "password"),
        ({"password": "ZhangSan123"}, "password"),
        ({"password_hash": "$2x$10$" + "." * 53}, "password_hash"),
    ):
        request = SetPasswordRequest(account=by_name("zhangsan"), **fields)
        refusal = refused(admin.SetPassword, request)
        assert set(refusal.violations) == {field}
        for value in fields.values():
            assert not value or value not in refusal.message
    timed.validate(session)


# --- Phone numbers and usernames ---------------------------------------------


def test_a_phone_number_is_set_and_removed(
    timed: RunningServer, admin: AdminCaller, clock: FakeClock
) -> None:
    admin.add("zhangsan", "1")
    clock.ms += 1_000
    request = SetPhoneRequest(account=by_id("1"), phone=PHONE, verified=True)
    answer = admin.SetPhone(request)
    assert answer.changed
    assert answer.account.phone == PHONE
    assert answer.account.phone_verified_time.ToMilliseconds() == clock.ms
    assert last_event(timed) == ("PHONE_SET", "admin", "1", 1)

    request.phone, request.verified = "", False
    answer = admin.SetPhone(request)
    assert (answer.changed, answer.account.phone) == (True, "")
    assert not admin.SetPhone(request).changed
    assert len(timed.events()) == 3
    request.verified = True
    assert set(refused(admin.SetPhone, request).violations) == {"phone"}


def test_another_username_is_known_to_the_sessions_too(
    timed: RunningServer, admin: AdminCaller
) -> None:
    user = timed.bound("zhangsan", PASSWORD)
    session = timed.login(code=timed.code(user)).session_id
    request = SetUsernameRequest(account=by_name("zhangsan"), username="Zhang.San")

    answer = admin.SetUsername(request)

    assert (answer.changed, answer.account.username) == (True, "Zhang.San")
    assert timed.validate(session).account.username == "Zhang.San"
    assert last_event(timed) == ("USERNAME_SET", "admin", "id-zhangsan", 1)
    old = refused(
        lambda: timed.login(code=timed.code(user), username="zhangsan", password=PASSWORD)
    )
    assert old.reason == "CREDENTIALS_INVALID"
    timed.login(code=timed.code(user), username="zhang.san", password=PASSWORD)
    assert refused(admin.SetUsername, request).reason == "NOT_FOUND"

    request.account.CopyFrom(by_name("zhang.san"))
    assert not admin.SetUsername(request).changed
    request.username = "ZHANG.SAN"  # the same name, spelt otherwise
    assert admin.SetUsername(request).account.username == "ZHANG.SAN"


def test_a_username_that_cannot_be_set(timed: RunningServer, admin: AdminCaller) -> None:
    admin.add("zhangsan", "1")
    admin.add("lisi", "2")
    for username, problem in (("", "required"), ("a b", "not allowed"), ("\u202ea", "direction")):
        request = SetUsernameRequest(account=by_id("2"), username=username)
        refusal = refused(admin.SetUsername, request)
        assert problem in refusal.violations["username"]
    taken = SetUsernameRequest(account=by_id("2"), username="ＺｈａｎｇＳａｎ")
    refusal = refused(admin.SetUsername, taken)
    assert (refusal.reason, refusal.metadata) == ("ACCOUNT_EXISTS", {"field": "username"})
    assert get(admin, "2").username == "lisi"
    assert timed.events()[2:] == []


def test_an_account_gets_its_first_username(timed: RunningServer, admin: AdminCaller) -> None:
    admin.ImportAccounts(ImportAccountsRequest(accounts=[ImportedAccount(id="7")]))
    admin.SetUsername(SetUsernameRequest(account=by_id("7"), username="wangwu"))
    admin.SetPassword(SetPasswordRequest(account=by_name("wangwu"), password=PASSWORD))
    user = timed.new_user()
    assert timed.login(code=timed.code(user), username="wangwu", password=PASSWORD).bound_now
