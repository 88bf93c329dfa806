"""AdminService: accounts are added and imported."""

from __future__ import annotations

from typing import Any

import bcrypt
import grpc
import pytest

from tests.admin_caller import PASSWORD, AdminCaller, by_id
from tests.canary import CANARY
from tests.running_server import FakeClock, RunningServer, refused
from wxauth.v1.admin_service_pb2 import (
    AccountDetails,
    CreateAccountRequest,
    GetAccountRequest,
    ImportAccountsRequest,
    ImportedAccount,
    ImportOutcome,
)

PHONE = "+8613800138000"


def get(admin: AdminCaller, account_id: str) -> AccountDetails:
    found: AccountDetails = admin.GetAccount(GetAccountRequest(account=by_id(account_id))).account
    return found


def last_event(server: RunningServer) -> tuple[Any, ...]:
    sql = "SELECT event, actor, account_id, count FROM audit_events ORDER BY id DESC LIMIT 1"
    return server.rows(sql)[0]


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
