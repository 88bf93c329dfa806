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
    #: Sealed with the key of this id; both or neither.
    session_key: bytes | None
    session_key_id: str | None
    session_key_at: int | None

    @property
    def account(self) -> tuple[str, str]:
        return (self.account_source, self.account_id)


_COLUMNS = ", ".join(BindingRecord._fields)


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
    tx: Transaction,
    app_id: str,
    openid: str,
    account: tuple[str, str],
    *,
    unionid: str | None = None,
    session_key: bytes | None = None,
    session_key_id: str | None = None,
    session_key_at: int | None = None,
) -> BindingRecord | None:
    """Hold the binding's row until the end of the transaction, if it is to this account.

    Second of the locks. What is given replaces what was known: a unionid that
    appears, and a session_key unless that of a later moment is there.
    """
    rows = tx.execute(
        f"""
        UPDATE bindings SET unionid = COALESCE(:unionid, unionid),
          session_key = CASE WHEN :session_key_at >= COALESCE(session_key_at, 0)
            THEN :session_key ELSE session_key END,
          session_key_id = CASE WHEN :session_key_at >= COALESCE(session_key_at, 0)
            THEN :session_key_id ELSE session_key_id END,
          session_key_at = CASE WHEN :session_key_at >= COALESCE(session_key_at, 0)
            THEN :session_key_at ELSE session_key_at END
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
            "session_key": session_key,
            "session_key_id": session_key_id,
            "session_key_at": session_key_at,
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


def find_exclusive_binding(
    tx: Transaction, app_id: str, account: tuple[str, str]
) -> BindingRecord | None:
    """The binding of an account in an app where an account is for one WeChat user."""
    rows = tx.execute(
        f"""
        SELECT {_COLUMNS} FROM bindings
        WHERE app_id = :app_id AND account_source = :source AND account_id = :account_id
          AND exclusive = 1
        """,  # noqa: S608
        {"app_id": app_id, "source": account[0], "account_id": account[1]},
    )
    return BindingRecord._make(rows[0]) if rows else None


def bindings_of_account(tx: Transaction, account: tuple[str, str]) -> list[BindingRecord]:
    """The bindings of an account in all apps."""
    rows = tx.execute(
        f"""
        SELECT {_COLUMNS} FROM bindings
        WHERE account_source = :source AND account_id = :account_id ORDER BY app_id, openid
        """,  # noqa: S608
        {"source": account[0], "account_id": account[1]},
    )
    return [BindingRecord._make(row) for row in rows]


def bindings_of_unionid(tx: Transaction, unionid: str) -> list[BindingRecord]:
    """The bindings of a WeChat user in all apps where WeChat has said this unionid."""
    rows = tx.execute(
        f"SELECT {_COLUMNS} FROM bindings WHERE unionid = :unionid ORDER BY app_id, openid",  # noqa: S608
        {"unionid": unionid},
    )
    return [BindingRecord._make(row) for row in rows]


def forbid_sibling_login(tx: Transaction, app_id: str, openid: str) -> None:
    """Remember that this WeChat user left: only a password brings a binding back."""
    tx.execute(
        "INSERT INTO no_sibling (app_id, openid) VALUES (:app_id, :openid) ON CONFLICT DO NOTHING",
        {"app_id": app_id, "openid": openid},
    )


def allow_sibling_login(tx: Transaction, app_id: str, openid: str) -> None:
    """Forget that this WeChat user left."""
    tx.execute(
        "DELETE FROM no_sibling WHERE app_id = :app_id AND openid = :openid",
        {"app_id": app_id, "openid": openid},
    )


def may_log_in_by_sibling(tx: Transaction, app_id: str, openid: str) -> bool:
    return not tx.execute(
        "SELECT openid FROM no_sibling WHERE app_id = :app_id AND openid = :openid",
        {"app_id": app_id, "openid": openid},
    )
