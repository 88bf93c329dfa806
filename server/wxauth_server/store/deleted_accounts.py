"""SQL of accounts whose users have left, and of telling their sources."""

from __future__ import annotations

from typing import NamedTuple

from wxauth_server.store.interface import Transaction


def delete_account(
    tx: Transaction,
    source: str,
    account_id: str,
    *,
    disabled_at: int | None,
    told_at: int | None,
    now_ms: int,
) -> None:
    """Take what tells of a person from the account; the row stays, and its sessions with it.

    `disabled_at` None leaves it as it is. `told_at` None: its source is to be told.
    """
    tx.execute(
        """
        UPDATE accounts SET username = NULL, username_key = NULL, display_name = NULL,
          phone = NULL, phone_verified_at = NULL, password = NULL,
          password_version = password_version + 1,
          disabled_at = COALESCE(:disabled_at, disabled_at),
          deleted_at = :now, deletion_told_at = :told_at
        WHERE source = :source AND id = :id
        """,
        {
            "source": source,
            "id": account_id,
            "disabled_at": disabled_at,
            "told_at": told_at,
            "now": now_ms,
        },
    )


class UntoldDeletion(NamedTuple):
    """A user who has left without their account's source knowing."""

    source: str
    id: str
    deleted_at: int


def list_untold_deletions(tx: Transaction, source: str, *, limit: int) -> list[UntoldDeletion]:
    """Those who have left, longest ago first."""
    rows = tx.execute(
        """
        SELECT source, id, deleted_at FROM accounts
        WHERE source = :source AND deleted_at IS NOT NULL AND deletion_told_at IS NULL
        ORDER BY deleted_at, id LIMIT :limit
        """,
        {"source": source, "limit": limit},
    )
    return [UntoldDeletion._make(row) for row in rows]


def is_untold_deletion(tx: Transaction, deletion: UntoldDeletion) -> bool:
    """Whether the user is still gone, and the source does not know."""
    return bool(
        tx.execute(
            """
            SELECT id FROM accounts
            WHERE source = :source AND id = :id AND deleted_at = :deleted_at
              AND deletion_told_at IS NULL
            """,
            deletion._asdict(),
        )
    )


def note_deletion_told(tx: Transaction, deletion: UntoldDeletion, *, now_ms: int) -> None:
    """The source knows; nothing if the user has begun anew or left once more meanwhile."""
    tx.execute(
        """
        UPDATE accounts SET deletion_told_at = :now
        WHERE source = :source AND id = :id AND deleted_at = :deleted_at
        """,
        deletion._asdict() | {"now": now_ms},
    )
