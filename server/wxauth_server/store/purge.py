"""SQL of the purge: rows whose time is over. Each function is a short transaction's work."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from wxauth_server.store.interface import Transaction


class OldSession(NamedTuple):
    """A session by its login, in milliseconds since 1970."""

    login_at: int
    digest: bytes
    app_id: str


def next_old_sessions(
    tx: Transaction, *, after: tuple[int, bytes], before_ms: int, limit: int
) -> list[OldSession]:
    """Sessions that began before a time, oldest first, from behind `after` on."""
    rows = tx.execute(
        """
        SELECT login_at, digest, app_id FROM sessions
        WHERE (login_at, digest) > (:login_at, :digest) AND login_at < :before
        ORDER BY login_at, digest LIMIT :limit
        """,
        {"login_at": after[0], "digest": after[1], "before": before_ms, "limit": limit},
    )
    return [OldSession._make(row) for row in rows]


def delete_sessions(tx: Transaction, dead: Iterable[tuple[bytes, int]]) -> int:
    """Delete sessions, (digest, began before this time), live or dead; how many there were."""
    deleted = 0
    for digest, before_ms in dead:
        deleted += len(
            tx.execute(
                """
                DELETE FROM sessions WHERE digest = :digest AND login_at < :before
                RETURNING handle
                """,
                {"digest": digest, "before": before_ms},
            )
        )
    return deleted


def forget_events(tx: Transaction, *, before_ms: int, limit: int) -> int:
    """Delete the oldest audit events from before a time; how many they were.

    The newest event stays, whatever its age: ids are never given twice.
    """
    return len(
        tx.execute(
            """
            DELETE FROM audit_events WHERE id IN (
              SELECT id FROM (
                SELECT id, at FROM audit_events
                WHERE id < (SELECT MAX(id) FROM audit_events)
                ORDER BY id LIMIT :limit
              ) AS oldest
              WHERE at < :before
            )
            RETURNING id
            """,
            {"before": before_ms, "limit": limit},
        )
    )
