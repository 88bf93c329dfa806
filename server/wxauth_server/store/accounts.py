"""SQL of accounts."""

from __future__ import annotations

from typing import NamedTuple

from wxauth_server.store.interface import Row, Transaction


class AccountRecord(NamedTuple):
    """A row of accounts. Times in milliseconds since 1970."""

    source: str
    id: str
    username: str | None
    display_name: str | None
    phone: str | None
    #: Since when the number is known to be this user's; None if it is not known.
    phone_verified_at: int | None
    password: str | None
    password_version: int
    created_at: int
    disabled_at: int | None

    @property
    def key(self) -> tuple[str, str]:
        return (self.source, self.id)


_COLUMNS = """source, id, username, display_name, phone, phone_verified_at, password,
  password_version, created_at, disabled_at"""


def find_account(tx: Transaction, source: str, account_id: str) -> AccountRecord | None:
    return _one(
        tx.execute(
            f"SELECT {_COLUMNS} FROM accounts WHERE source = :source AND id = :id",  # noqa: S608
            {"source": source, "id": account_id},
        )
    )


def find_account_by_username(
    tx: Transaction, source: str, username_key: str
) -> AccountRecord | None:
    return _one(
        tx.execute(
            f"SELECT {_COLUMNS} FROM accounts"  # noqa: S608
            " WHERE source = :source AND username_key = :username_key",
            {"source": source, "username_key": username_key},
        )
    )


def accounts_of_phone(tx: Transaction, source: str, phone: str) -> list[AccountRecord]:
    """The accounts, disabled ones too, that have this as their verified number; two at most."""
    rows = tx.execute(
        f"""
        SELECT {_COLUMNS} FROM accounts
        WHERE source = :source AND phone = :phone AND phone_verified_at IS NOT NULL LIMIT 2
        """,  # noqa: S608
        {"source": source, "phone": phone},
    )
    return [AccountRecord._make(row) for row in rows]


def list_accounts(tx: Transaction, source: str, *, limit: int) -> list[AccountRecord]:
    """The accounts of a source, oldest first."""
    rows = tx.execute(
        f"SELECT {_COLUMNS} FROM accounts WHERE source = :source"  # noqa: S608
        " ORDER BY created_at, id LIMIT :limit",
        {"source": source, "limit": limit},
    )
    return [AccountRecord._make(row) for row in rows]


def lock_enabled_account(
    tx: Transaction, source: str, account_id: str, *, password_version: int | None = None
) -> AccountRecord | None:
    """Hold the account's row until the end of the transaction, if it is enabled.

    First of the locks (design.md section 4, step 5). None if the account is
    gone, disabled, or (where a version is given) its password has changed.
    """
    return _one(
        tx.execute(
            f"""
            UPDATE accounts SET password_version = password_version
            WHERE source = :source AND id = :id AND disabled_at IS NULL
              AND password_version = COALESCE(:password_version, password_version)
            RETURNING {_COLUMNS}
            """,  # noqa: S608
            {"source": source, "id": account_id, "password_version": password_version},
        )
    )


def lock_bound_account(tx: Transaction, app_id: str, openid: str) -> AccountRecord | None:
    """Hold the row of the account that a WeChat user is bound to, if it is enabled."""
    return _one(
        tx.execute(
            f"""
            UPDATE accounts SET password_version = password_version
            WHERE disabled_at IS NULL AND (source, id) = (
              SELECT account_source, account_id FROM bindings
              WHERE app_id = :app_id AND openid = :openid
            )
            RETURNING {_COLUMNS}
            """,  # noqa: S608
            {"app_id": app_id, "openid": openid},
        )
    )


def insert_account(
    tx: Transaction,
    *,
    source: str,
    account_id: str,
    username: str | None,
    username_key: str | None,
    display_name: str | None,
    phone: str | None,
    phone_verified: bool = False,
    password: str | None,
    now_ms: int,
) -> bool:
    """Add an account; False if its id or username is taken."""
    inserted = tx.execute(
        """
        INSERT INTO accounts (source, id, username, username_key, display_name, phone,
          phone_verified_at, password, password_version, created_at)
        VALUES (:source, :id, :username, :username_key, :display_name, :phone,
          :phone_verified_at, :password, 1, :now)
        ON CONFLICT DO NOTHING RETURNING id
        """,
        {
            "source": source,
            "id": account_id,
            "username": username,
            "username_key": username_key,
            "display_name": display_name,
            "phone": phone,
            "phone_verified_at": now_ms if phone_verified else None,
            "password": password,
            "now": now_ms,
        },
    )
    return bool(inserted)


def update_password(tx: Transaction, source: str, account_id: str, password: str) -> bool:
    """Store another password; False if there is no such account."""
    return bool(
        tx.execute(
            """
            UPDATE accounts SET password = :password, password_version = password_version + 1
            WHERE source = :source AND id = :id RETURNING id
            """,
            {"source": source, "id": account_id, "password": password},
        )
    )


def update_password_hash(
    tx: Transaction, source: str, account_id: str, *, password: str, verified_version: int
) -> None:
    """Store the same password hashed anew, unless it was changed since it was verified."""
    tx.execute(
        """
        UPDATE accounts SET password = :password
        WHERE source = :source AND id = :id AND password_version = :version
        """,
        {"source": source, "id": account_id, "password": password, "version": verified_version},
    )


def update_phone(
    tx: Transaction, source: str, account_id: str, *, phone: str | None, verified_at: int | None
) -> AccountRecord | None:
    """Store another number, or none, and since when it is verified; None if no such account."""
    return _one(
        tx.execute(
            f"""
            UPDATE accounts SET phone = :phone, phone_verified_at = :verified_at
            WHERE source = :source AND id = :id RETURNING {_COLUMNS}
            """,  # noqa: S608
            {"source": source, "id": account_id, "phone": phone, "verified_at": verified_at},
        )
    )


def set_disabled(
    tx: Transaction, source: str, account_id: str, *, disabled_at: int | None
) -> AccountRecord | None:
    """Disable an account since a time, or enable it; None if there is no such account."""
    return _one(
        tx.execute(
            f"""
            UPDATE accounts SET disabled_at = :disabled_at
            WHERE source = :source AND id = :id RETURNING {_COLUMNS}
            """,  # noqa: S608
            {"source": source, "id": account_id, "disabled_at": disabled_at},
        )
    )


def _one(rows: object) -> AccountRecord | None:
    found: list[Row] = list(rows)  # type: ignore[call-overload]
    return AccountRecord._make(found[0]) if found else None
