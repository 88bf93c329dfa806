"""SQL of accounts whose home is elsewhere: what we know of those that have logged in.

Bindings and sessions need a row to belong to. It has no password and no
username_key: how names compare, and who has which, is their source's affair.
"""

from __future__ import annotations

from wxauth_server.store.interface import Transaction
from wxauth_server.store.sessions import NOT_ENDED


def note_account(tx: Transaction, source: str, account_id: str, *, now_ms: int) -> None:
    """Make a row for an account that has none, with nothing but its id."""
    tx.execute(
        """
        INSERT INTO accounts (source, id, password_version, created_at)
        VALUES (:source, :id, 1, :now)
        ON CONFLICT (source, id) DO NOTHING
        """,
        {"source": source, "id": account_id, "now": now_ms},
    )


def mirror_account(
    tx: Transaction,
    source: str,
    account_id: str,
    *,
    username: str | None,
    display_name: str | None,
    asked_ms: int,
    now_ms: int,
) -> bool:
    """Store what an account's source said when it was asked, also in its sessions.

    A name that it did not say stays as it was. Who had left by then and comes back,
    begins anew. False if the user has left since: what the source said is out of
    date.
    """
    names = {
        "source": source,
        "id": account_id,
        "username": username,
        "display_name": display_name,
    }
    changed = tx.execute(
        """
        UPDATE accounts SET
          username = COALESCE(:username, username),
          display_name = COALESCE(:display_name, display_name),
          deleted_at = NULL, deletion_told_at = NULL
        WHERE source = :source AND id = :id
          -- Before the source was asked, or by a clock that was set back since.
          AND (COALESCE(deleted_at, 0) < :asked OR deleted_at > :now)
          AND (
            COALESCE(username, '') <> COALESCE(:username, username, '')
            OR COALESCE(display_name, '') <> COALESCE(:display_name, display_name, '')
            OR deleted_at IS NOT NULL
          )
        RETURNING id
        """,
        names | {"asked": asked_ms, "now": now_ms},
    )
    if changed:
        tx.execute(
            f"""
            UPDATE sessions SET
              username = COALESCE(:username, username),
              display_name = COALESCE(:display_name, display_name)
            WHERE account_source = :source AND account_id = :id AND {NOT_ENDED}
            """,  # noqa: S608
            names,
        )
    return not tx.execute(
        "SELECT id FROM accounts WHERE source = :source AND id = :id AND deleted_at IS NOT NULL",
        names,
    )
