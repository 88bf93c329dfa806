"""Step 4: SQL of bindings, which WeChat user is which account."""

from __future__ import annotations

from typing import NamedTuple

from wxauth_server.store.interface import Transaction


class BindingRecord(NamedTuple):
    """A row of bindings. Times in milliseconds since 1970."""

    app_id: str
    openid: str
    account_source: str
    account_id: str
    unionid: str | None
    bound_at: int

    @property
    def account(self) -> tuple[str, str]:
        return (self.account_source, self.account_id)


_COLUMNS = "app_id, openid, account_source, account_id, unionid, bound_at"


def find_binding(tx: Transaction, app_id: str, openid: str) -> BindingRecord | None:
    rows = tx.execute(
        f"SELECT {_COLUMNS} FROM bindings WHERE app_id = :app_id AND openid = :openid",  # noqa: S608
        {"app_id": app_id, "openid": openid},
    )
    return BindingRecord._make(rows[0]) if rows else None


def insert_binding(
    tx: Transaction,
    *,
    app_id: str,
    openid: str,
    account: tuple[str, str],
    exclusive: bool,
    unionid: str | None,
    now_ms: int,
) -> bool:
    """Bind; False if the WeChat user or (where exclusive) the account is bound already."""
    inserted = tx.execute(
        """
        INSERT INTO bindings
          (app_id, openid, account_source, account_id, exclusive, unionid, bound_at)
        VALUES (:app_id, :openid, :source, :account_id, :exclusive, :unionid, :now)
        ON CONFLICT DO NOTHING RETURNING openid
        """,
        {
            "app_id": app_id,
            "openid": openid,
            "source": account[0],
            "account_id": account[1],
            "exclusive": int(exclusive),
            "unionid": unionid,
            "now": now_ms,
        },
    )
    return bool(inserted)


def lock_binding(
    tx: Transaction, app_id: str, openid: str, account: tuple[str, str], *, unionid: str | None
) -> BindingRecord | None:
    """Hold the binding's row until the end of the transaction, if it is to this account.

    Second of the locks. A unionid fills the attribute in when it first appears.
    """
    rows = tx.execute(
        f"""
        UPDATE bindings SET unionid = COALESCE(:unionid, unionid)
        WHERE app_id = :app_id AND openid = :openid
          AND account_source = :source AND account_id = :account_id
        RETURNING {_COLUMNS}
        """,  # noqa: S608
        {
            "app_id": app_id,
            "openid": openid,
            "source": account[0],
            "account_id": account[1],
            "unionid": unionid,
        },
    )
    return BindingRecord._make(rows[0]) if rows else None


def delete_binding(tx: Transaction, app_id: str, openid: str) -> BindingRecord | None:
    """End a binding; the one that was, or None."""
    rows = tx.execute(
        f"""
        DELETE FROM bindings WHERE app_id = :app_id AND openid = :openid
        RETURNING {_COLUMNS}
        """,  # noqa: S608
        {"app_id": app_id, "openid": openid},
    )
    return BindingRecord._make(rows[0]) if rows else None


def list_bindings(tx: Transaction, *, limit: int) -> list[BindingRecord]:
    """Bindings, newest first."""
    rows = tx.execute(
        f"SELECT {_COLUMNS} FROM bindings ORDER BY bound_at DESC, openid LIMIT :limit",  # noqa: S608
        {"limit": limit},
    )
    return [BindingRecord._make(row) for row in rows]
