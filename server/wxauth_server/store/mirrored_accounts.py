"""SQL of accounts whose home is elsewhere: what we know of those that have logged in.

Bindings and sessions need a row to belong to. It has no password and no
username_key: how names compare, and who has which, is their source's affair.
"""

from __future__ import annotations

from wxauth_server.store.interface import Transaction


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

    Who had left by then and comes back, begins anew. False if the user has left
    since: what the source said is out of date.
    """
    names = {
        "source": source,
        "id": account_id,
        "username": username,
        "display_name": display_name,
    }
    changed = tx.execute(
        """
        INSERT INTO accounts (source, id, username, display_name, password_version, created_at)
        VALUES (:source, :id, :username, :display_name, 1, :now)
        ON CONFLICT (source, id) DO UPDATE SET
          username = :username, display_name = :display_name,
          deleted_at = NULL, deletion_told_at = NULL
        WHERE COALESCE(deleted_at, 0) < :asked AND (
          COALESCE(username, '') <> COALESCE(:username, '')
          OR COALESCE(display_name, '') <> COALESCE(:display_name, '')
          OR deleted_at IS NOT NULL
        )
        RETURNING id
        """,
        names | {"asked": asked_ms, "now": now_ms},
    )
    if changed:
        tx.execute(
            """
            UPDATE sessions SET username = :username, display_name = :display_name
            WHERE account_source = :source AND account_id = :id AND ended_at IS NULL
            """,
            names,
        )
    return not tx.execute(
        "SELECT id FROM accounts WHERE source = :source AND id = :id AND deleted_at IS NOT NULL",
        names,
    )
