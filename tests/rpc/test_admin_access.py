"""AdminService: accounts are disabled, enabled and unlocked."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.admin_caller import PASSWORD, AdminCaller, admin_of, by_id, by_name
from tests.canary import CANARY
from tests.rpc.admin_acts import ON_ANY, ON_LOCAL, READS
from tests.running_server import FakeClock, RunningServer, refused, running_server
from tests.sandbox_server import RunningSandbox
from wxauth.v1.admin_service_pb2 import (
    DisableAccountRequest,
    EnableAccountRequest,
    GetAccountRequest,
    ListAccountsRequest,
    UnlockAccountRequest,
)


def events(server: RunningServer) -> list[tuple[Any, ...]]:
    return server.rows("SELECT event, actor, account_source, account_id FROM audit_events")


# --- Disabling and enabling --------------------------------------------------


def test_disabling_ends_the_sessions_and_enabling_revives_none(
    timed: RunningServer, admin: AdminCaller, clock: FakeClock
) -> None:
    user = timed.bound("zhangsan", PASSWORD)
    session = timed.login(code=timed.code(user)).session_id
    clock.ms += 1_000

    answer = admin.DisableAccount(DisableAccountRequest(account=by_name("zhangsan")))
    assert (answer.changed, answer.sessions_ended) == (True, 2)
    assert answer.account.disable_time.ToMilliseconds() == clock.ms
    clock.ms += 1_000
    again = admin.DisableAccount(DisableAccountRequest(account=by_name("zhangsan")))
    assert (again.changed, again.sessions_ended) == (False, 0)
    assert again.account == answer.account

    cause = refused(lambda: timed.validate(session)).metadata
    assert cause == {"cause": "ACCOUNT_DISABLED"}
    assert refused(lambda: timed.login(code=timed.code(user))).reason == "ACCOUNT_DISABLED"
    assert timed.rows("SELECT session_key FROM bindings") == [(None,)]

    enabled = admin.EnableAccount(EnableAccountRequest(account=by_id("id-zhangsan")))
    assert enabled.changed
    assert not enabled.account.HasField("disable_time")
    assert not admin.EnableAccount(EnableAccountRequest(account=by_id("id-zhangsan"))).changed
    refused(lambda: timed.validate(session))
    timed.login(code=timed.code(user))
    told = [event for event in events(timed) if event[1] == "admin"]
    assert told == [
        ("ACCOUNT_DISABLED", "admin", "local", "id-zhangsan"),
        ("ACCOUNT_ENABLED", "admin", "local", "id-zhangsan"),
    ]


@pytest.fixture
def erp(
    tmp_path: Path, sandbox: RunningSandbox, server_loop: asyncio.AbstractEventLoop
) -> Iterator[RunningServer]:
    """A server that knows another account source, which is not asked in these tests."""
    key = CANARY.keep("k" * 32)
    source = {"kind": "http", "name": "erp", "url": "http://127.0.0.1:9/", "key": key}
    with running_server(
        tmp_path / "erp", sandbox, server_loop, account_sources=[source]
    ) as running:
        yield running


def test_an_account_not_heard_of_is_remembered_as_disabled(erp: RunningServer) -> None:
    admin = admin_of(erp)
    key = by_id("10001", "erp")
    assert refused(READS["GetAccount"], admin, key).reason == "NOT_FOUND"
    assert refused(ON_ANY["EnableAccount"], admin, key).reason == "NOT_FOUND"

    answer = ON_ANY["DisableAccount"](admin, key)

    assert (answer.changed, answer.sessions_ended) == (True, 0)
    assert (answer.account.source, answer.account.id) == ("erp", "10001")
    assert answer.account.HasField("disable_time")
    assert READS["GetAccount"](admin, key).account == answer.account
    assert not ON_ANY["DisableAccount"](admin, key).changed
    assert ON_ANY["EnableAccount"](admin, key).changed
    listed = admin.ListAccounts(ListAccountsRequest(source="erp")).accounts
    assert [account.id for account in listed] == ["10001"]
    assert [event for event, *_ in events(erp)] == ["ACCOUNT_DISABLED", "ACCOUNT_ENABLED"]


def test_a_source_that_is_mistyped_remembers_nothing(erp: RunningServer) -> None:
    admin = admin_of(erp)
    refusal = refused(ON_ANY["DisableAccount"], admin, by_id("10001", "epr"))
    assert "erp, local" in refusal.violations["account.source"]
    request = UnlockAccountRequest(source="epr", username="zhangsan")
    assert set(refused(admin.UnlockAccount, request).violations) == {"source"}
    assert erp.rows("SELECT id FROM accounts") == []


def test_an_id_that_no_account_can_have_is_not_remembered(erp: RunningServer) -> None:
    refusal = refused(ON_ANY["DisableAccount"], admin_of(erp), by_id("a\nb", "erp"))
    assert "control character" in refusal.violations["account.id"]


# --- Unlocking ---------------------------------------------------------------


def test_unlocking_forgets_the_failures(timed: RunningServer, admin: AdminCaller) -> None:
    timed.add_account("zhangsan", PASSWORD)
    user = timed.new_user()

    def log_in(password: str) -> Any:
        return timed.login(code=timed.code(user), username="zhangsan", password=password)

    for _ in range(5):
        assert refused(log_in, "wrong password").reason == "CREDENTIALS_INVALID"
    assert refused(log_in, PASSWORD).reason == "THROTTLED"

    request = UnlockAccountRequest(username="ZhangSan")
    assert admin.UnlockAccount(request).changed
    assert log_in(PASSWORD).bound_now
    assert not admin.UnlockAccount(request).changed
    told = [event for event in events(timed) if event[0] == "UNLOCKED"]
    assert told == [("UNLOCKED", "admin", "local", "id-zhangsan")]


@pytest.mark.parametrize("way", ["unlock", "password"])
def test_a_locked_password_is_shown_and_put_back(
    timed: RunningServer, admin: AdminCaller, way: str
) -> None:
    timed.add_account("zhangsan", PASSWORD)
    user = timed.new_user()
    refused(lambda: timed.login(code=timed.code(user), username="zhangsan", password="wrong one"))
    timed.store.write(lambda tx: tx.execute("UPDATE throttles SET failures = 99 WHERE openid = ''"))
    get = GetAccountRequest(account=by_name("zhangsan"))
    assert not admin.GetAccount(get).account.password_locked
    timed.store.write(
        lambda tx: tx.execute("UPDATE throttles SET failures = 100 WHERE openid = ''")
    )
    assert admin.GetAccount(get).account.password_locked
    [listed] = admin.ListAccounts(ListAccountsRequest()).accounts
    assert listed.password_locked
    other = {"username": "zhangsan", "password": PASSWORD}
    refusal = refused(lambda: timed.login(code=timed.code(timed.new_user()), **other))
    assert refusal.reason == "CREDENTIALS_INVALID"

    if way == "unlock":
        assert admin.UnlockAccount(UnlockAccountRequest(username="zhangsan")).changed
    else:
        ON_LOCAL["SetPassword"](admin, by_name("zhangsan"))

    assert not admin.GetAccount(get).account.password_locked
    assert timed.login(code=timed.code(timed.new_user()), **other).bound_now


def test_a_name_that_no_account_has_can_be_unlocked(
    timed: RunningServer, admin: AdminCaller
) -> None:
    user = timed.new_user()
    refused(lambda: timed.login(code=timed.code(user), username="nobody", password="wrong one"))
    assert admin.UnlockAccount(UnlockAccountRequest(username="Nobody")).changed
    assert events(timed)[-1] == ("UNLOCKED", "admin", None, None)
    for username in ("", "a" * 257):
        request = UnlockAccountRequest(username=username)
        refusal = refused(admin.UnlockAccount, request)
        assert set(refusal.violations) == {"username"}
