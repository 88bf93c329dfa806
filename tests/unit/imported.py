"""What the tests of imports share: accounts, and how to look at what became of them."""

from __future__ import annotations

from typing import Any

from wxauth_server.accounts.imports.import_files import FileRow
from wxauth_server.accounts.imports.importing import AccountRow, Outcome, Result
from wxauth_server.accounts.sources.source import LOCAL
from wxauth_server.store.accounts import AccountRecord, find_account
from wxauth_server.store.interface import Store

NOW_MS = 1_790_000_000_000

BCRYPT = "$2b$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy"
OTHER_BCRYPT = "$2b$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWz"

#: With every field.
FULL = AccountRow("1", "ZhangSan", "张三", "+8613800138000", True, BCRYPT, True)


def problem(outcome: Outcome) -> str:
    """Why a row was refused."""
    assert outcome.result is Result.REFUSED
    return outcome.problem


def ids(rows: list[FileRow]) -> list[tuple[int, str]]:
    """(line, id, or why it is refused) of each."""
    return [(row.line, row.account.id if row.account else row.problem) for row in rows]


def account(store: Store, account_id: str) -> AccountRecord:
    found = store.read(lambda tx: find_account(tx, LOCAL, account_id))
    assert found is not None
    return found


def count_accounts(store: Store) -> int:
    [(count,)] = store.read(lambda tx: tx.execute("SELECT COUNT(*) FROM accounts"))
    return int(count)


def imported_events(store: Store) -> list[tuple[Any, ...]]:
    """(event, actor, count) of the whole audit log."""
    return list(
        store.read(
            lambda tx: tx.execute("SELECT event, actor, count FROM audit_events ORDER BY id")
        )
    )
