"""SQL of accounts as an operator sees them: those whose users have left too."""

from __future__ import annotations

from typing import NamedTuple

from wxauth_server.store.accounts import AccountRecord
from wxauth_server.store.interface import Row, Transaction
from wxauth_server.store.sessions import NOT_ENDED


class AccountEntry(NamedTuple):
    """An account, and since when its user has left, in milliseconds since 1970."""

    record: AccountRecord
    deleted_at: int | None


_COLUMNS = ", ".join((*AccountRecord._fields, "deleted_at"))


def find_account_entry(tx: Transaction, source: str, account_id: str) -> AccountEntry | None:
    rows = tx.execute(
        f"SELECT {_COLUMNS} FROM accounts WHERE source = :source AND id = :id",  # noqa: S608
        {"source": source, "id": account_id},
    )
    return _entry(rows[0]) if rows else None


def list_accounts_after(
    tx: Transaction, source: str, after_id: str, *, deleted: bool, limit: int
) -> list[AccountEntry]:
    """The accounts of a source behind an id, in the order of their ids.

    `deleted` chooses those whose users have left, else the others.
    """
    rows = tx.execute(
        f"""
        SELECT {_COLUMNS} FROM accounts
        WHERE source = :source AND id > :after AND (deleted_at IS NOT NULL) = :deleted
        ORDER BY id LIMIT :limit
        """,  # noqa: S608
        {"source": source, "after": after_id, "deleted": deleted, "limit": limit},
    )
    return [_entry(row) for row in rows]


def update_username(
    tx: Transaction, source: str, account_id: str, *, username: str, username_key: str
) -> None:
    """Store another username, also where sessions that have not ended keep a copy."""
    names = {"source": source, "id": account_id, "username": username}
    tx.execute(
        """
        UPDATE accounts SET username = :username, username_key = :username_key
        WHERE source = :source AND id = :id
        """,
        names | {"username_key": username_key},
    )
    tx.execute(
        f"""
        UPDATE sessions SET username = :username
        WHERE account_source = :source AND account_id = :id AND {NOT_ENDED}
        """,  # noqa: S608
        names,
    )


def _entry(row: Row) -> AccountEntry:
    return AccountEntry(AccountRecord._make(row[:-1]), row[-1])
