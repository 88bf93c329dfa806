"""AdminService: which account is meant, and what is said where there is none."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from tests.admin_caller import AdminCaller, by_id, by_name
from tests.rpc.admin_acts import CHANGES, ON_LOCAL, READS
from tests.running_server import FakeClock, RunningServer, refused
from wxauth.v1.admin_service_pb2 import AccountKey, ListAccountsRequest


def events(server: RunningServer) -> list[tuple[Any, ...]]:
    return server.rows("SELECT event, actor, account_source, account_id FROM audit_events")


@pytest.mark.parametrize("method", [*CHANGES, *READS])
@pytest.mark.parametrize("key", [by_id("7"), by_name("nobody"), by_name("no body")], ids=str)
def test_an_account_that_is_not_there(
    timed: RunningServer, admin: AdminCaller, method: str, key: AccountKey
) -> None:
    refusal = refused((CHANGES | READS)[method], admin, key)
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.NOT_FOUND, "NOT_FOUND")
    assert refusal.metadata == {"what": "account"}
    assert events(timed) == []


@pytest.mark.parametrize("method", [*CHANGES, *READS])
@pytest.mark.parametrize(
    ("key", "field"),
    [
        (AccountKey(), "account"),
        (AccountKey(source="local"), "account"),
        (by_id(""), "account.id"),
        (by_id("a" * 129), "account.id"),
        (by_id("a\0b"), "account.id"),
        (by_name(""), "account.username"),
        (by_name("a" * 257), "account.username"),
        (by_id("1", "a" * 33), "account.source"),
        (AccountKey(source="erp", username="zhangsan"), "account.username"),
    ],
    ids=str,
)
def test_a_key_that_names_no_account(
    admin: AdminCaller, method: str, key: AccountKey, field: str
) -> None:
    refusal = refused((CHANGES | READS)[method], admin, key)
    assert refusal.reason == "REQUEST_INVALID"
    assert field in refusal.violations


@pytest.mark.parametrize("method", ON_LOCAL)
def test_what_only_accounts_of_our_own_have(admin: AdminCaller, method: str) -> None:
    refusal = refused(ON_LOCAL[method], admin, by_id("1", "erp"))
    assert "our own store" in refusal.violations["account.source"]


@pytest.mark.parametrize("method", CHANGES)
def test_who_has_left_is_seen_but_not_changed(
    timed: RunningServer, admin: AdminCaller, clock: FakeClock, method: str
) -> None:
    admin.add("zhangsan", "1")
    admin.add("lisi", "2")
    timed.store.write(
        lambda tx: tx.execute(
            "UPDATE accounts SET username = NULL, username_key = NULL, disabled_at = :now,"
            " deleted_at = :now WHERE id = '1'",
            {"now": clock.ms},
        )
    )
    before = timed.rows("SELECT * FROM accounts")

    assert refused(CHANGES[method], admin, by_id("1")).metadata == {"what": "account"}

    assert timed.rows("SELECT * FROM accounts") == before
    seen = READS["GetAccount"](admin, by_id("1")).account
    assert seen.delete_time.ToMilliseconds() == clock.ms

    def listed(*, deleted: bool) -> list[str]:
        answer = admin.ListAccounts(ListAccountsRequest(deleted=deleted))
        return [account.id for account in answer.accounts]

    assert (listed(deleted=True), listed(deleted=False)) == (["1"], ["2"])
    assert refused(admin.add, "wangwu", "1").metadata == {"field": "id"}
