"""AdminService: accounts are added, found, and their data is set."""

from __future__ import annotations

from typing import Any

import bcrypt
import grpc
import pytest

from tests.admin_caller import PASSWORD, AdminCaller, by_id, by_name
from tests.canary import CANARY
from tests.running_server import FakeClock, RunningServer, refused
from wxauth.v1.admin_service_pb2 import (
    AccountDetails,
    CreateAccountRequest,
    GetAccountRequest,
    ImportAccountsRequest,
    ImportedAccount,
    ImportOutcome,
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


# --- Adding ------------------------------------------------------------------


def test_an_account_is_added_as_asked_for(
    timed: RunningServer, admin: AdminCaller, clock: FakeClock
) -> None:
    request = CreateAccountRequest(
        id="10001",
        username="Zhang.San",
        display_name="张三",
        phone=PHONE,
        phone_verified=True,
        password=CANARY.keep(PASSWORD),
    )
    account = admin.CreateAccount(request).account

    assert account == get(admin, "10001")
    assert (account.source, account.id, account.username) == ("local", "10001", "Zhang.San")
    assert (account.display_name, account.phone) == ("张三", PHONE)
    assert account.has_password
    assert not account.password_locked
    assert account.phone_verified_time.ToMilliseconds() == clock.ms
    assert account.create_time.ToMilliseconds() == clock.ms
    assert not account.HasField("disable_time")
    assert not account.HasField("delete_time")
    assert last_event(timed) == ("ACCOUNT_ADDED", "admin", "10001", 1)
    user = timed.new_user()
    login = timed.login(code=timed.code(user), username="zhang.san", password=PASSWORD)
    assert login.account.id == "10001"


def test_what_is_absent_is_made_up_or_absent(admin: AdminCaller) -> None:
    account = admin.CreateAccount(CreateAccountRequest(username="lisi")).account
    assert len(account.id) == 32
    assert (account.display_name, account.phone, account.has_password) == ("", "", False)
    assert not account.HasField("phone_verified_time")


def test_a_hash_of_another_system(timed: RunningServer, admin: AdminCaller) -> None:
    foreign = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    admin.add("lisi", "2", password_hash=foreign)
    user = timed.new_user()
    assert timed.login(code=timed.code(user), username="lisi", password=PASSWORD).bound_now


@pytest.mark.parametrize(
    ("fields", "violations"),
    [
        ({"username": ""}, {"username": "required"}),
        ({"username": "li si"}, {"username": "not allowed"}),
        ({"username": "a" * 257}, {"username": "256 bytes"}),
        ({"id": "a" * 129}, {"id": "128 bytes"}),
        ({"id": "a\nb"}, {"id": "control character"}),
        ({"display_name": "a" * 257}, {"display_name": "256 bytes"}),
        ({"phone": "13800138000"}, {"phone": "E.164"}),
        ({"phone_verified": True}, {"phone": "no phone number"}),
        ({"password": ""}, {"password": "8 characters"}),
        ({"password": "short"}, {"password": "8 characters"}),
        ({"password": "password"}, {"password": "common"}),
        ({"password": "lisi-lisi", "username": "Lisi-Lisi"}, {"password": "username"}),
        ({"password": "密" * 257}, {"password": "at most 256"}),
        ({"password_hash": "5f4dcc3b5aa765d61d8327deb882cf99"}, {"password_hash": "MD5"}),
        ({"password_hash": "x" * 513}, {"password_hash": "512 bytes"}),
        ({"username": "", "phone": "x", "id": "\t"}, {"username": "", "phone": "", "id": ""}),
    ],
    ids=str,
)
def test_what_cannot_be_added_is_named(
    timed: RunningServer, admin: AdminCaller, fields: dict[str, Any], violations: dict[str, str]
) -> None:
    request = CreateAccountRequest(**{"username": "lisi"} | fields)
    refusal = refused(admin.CreateAccount, request)
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_INVALID")
    assert set(refusal.violations) == set(violations)
    for field, part in violations.items():
        assert part in refusal.violations[field]
    assert timed.rows("SELECT id FROM accounts") == []


def test_what_is_taken_is_named(timed: RunningServer, admin: AdminCaller) -> None:
    admin.add("lisi", "2")
    for field, fields in (("id", ("wangwu", "2")), ("username", ("LiSi", "3"))):
        refusal = refused(admin.add, *fields)
        assert (refusal.code, refusal.reason) == (
            grpc.StatusCode.ALREADY_EXISTS,
            "ACCOUNT_EXISTS",
        )
        assert refusal.metadata == {"field": field}
    assert timed.rows("SELECT id FROM accounts") == [("2",)]


def test_accounts_are_imported(timed: RunningServer, admin: AdminCaller) -> None:
    accounts = [
        ImportedAccount(id="1", username="zhangsan"),
        ImportedAccount(id="2", username="li si"),
        ImportedAccount(id="3", disabled=True),
    ]
    results = [ImportOutcome.RESULT_ADDED, ImportOutcome.RESULT_REFUSED, ImportOutcome.RESULT_ADDED]
    asked = ImportAccountsRequest(accounts=accounts, dry_run=True)
    assert [each.result for each in admin.ImportAccounts(asked).outcomes] == results
    assert timed.rows("SELECT id FROM accounts") == []

    asked.dry_run = False
    outcomes = admin.ImportAccounts(asked).outcomes
    assert [each.result for each in outcomes] == results
    assert ["not allowed" in each.problem for each in outcomes] == [False, True, False]
    assert last_event(timed)[:2] == ("ACCOUNTS_IMPORTED", "admin")
    assert last_event(timed)[3] == 2
    assert get(admin, "3").HasField("disable_time")
    assert get(admin, "3").username == ""
    again = admin.ImportAccounts(asked).outcomes
    assert again[0].result == ImportOutcome.RESULT_UNCHANGED


@pytest.mark.parametrize("count", [0, 257])
def test_so_many_are_not_imported(admin: AdminCaller, count: int) -> None:
    accounts = [ImportedAccount(id=str(number)) for number in range(count)]
    refusal = refused(lambda: admin.ImportAccounts(ImportAccountsRequest(accounts=accounts)))
    assert refusal.violations == {"accounts": "not 1 to 256"}


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
    wait = {"username": "zhangsan", "password": "another password"}
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
        request = SetPasswordRequest(account=by_id(account_id), password="another password")
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
