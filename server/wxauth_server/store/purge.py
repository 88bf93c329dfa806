"""SQL of the purge: rows whose time is over. Each function is a short transaction's work."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from wxauth_server.store.ended_sessions import mark_some_ended
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


def forget_revocations(tx: Transaction, *, before_ms: int, limit: int) -> int:
    """Delete entries of the revocation log from before a time; how many they were.

    The newest one stays: it says how far the log goes.
    """
    return len(
        tx.execute(
            """
            DELETE FROM revocations WHERE position IN (
              SELECT position FROM revocations WHERE logged_at < :before
                AND position < (SELECT MAX(position) FROM revocations)
              ORDER BY logged_at LIMIT :limit
            )
            RETURNING position
            """,
            {"before": before_ms, "limit": limit},
        )
    )


def apps_with_ended_sessions(tx: Transaction, *, now_ms: int, left_ms: int) -> list[str]:
    """Apps whose sessions were ended all at once, over `left_ms` ago, and may not say so yet.

    Or as far ahead of now, by a clock that was set back since; less is how the clocks
    of several servers differ.
    """
    rows = tx.execute(
        """
        SELECT app_id FROM sessions_valid_after
        WHERE ABS(ended_at - :now) > :left ORDER BY app_id
        """,
        {"now": now_ms, "left": left_ms},
    )
    return [app_id for (app_id,) in rows]


def finish_end_of_app(tx: Transaction, app_id: str, *, limit: int) -> int:
    """Have the rows of sessions that ended with their app say so; how many.

    When all do, what ended them is forgotten: it would end logins of a clock that is slow.
    """
    marked = len(mark_some_ended(tx, app_id, limit=limit))
    if marked < limit:
        tx.execute("DELETE FROM sessions_valid_after WHERE app_id = :app_id", {"app_id": app_id})
    return marked
