"""SQL of the sessions of one account, as its user asks for them."""

from __future__ import annotations

from typing import NamedTuple

from wxauth_server.store.interface import Transaction
from wxauth_server.store.sessions import NOT_ENDED, SESSION_COLUMNS, SessionRecord


class OwnSessionRecord(NamedTuple):
    """A session as its owner recognises it. Times in milliseconds since 1970."""

    digest: bytes
    handle: str
    login_at: int
    last_seen_at: int
    client_address: str | None
    client_user_agent: str | None
    client_device: str | None


def list_own_sessions(
    tx: Transaction,
    app_id: str,
    account: tuple[str, str],
    *,
    idle_ms: int,
    absolute_ms: int,
    now_ms: int,
    limit: int,
) -> list[OwnSessionRecord]:
    """The live sessions of an account in an app, newest login first."""
    rows = tx.execute(
        f"""
        SELECT {", ".join(OwnSessionRecord._fields)} FROM sessions
        WHERE account_source = :source AND account_id = :account_id AND app_id = :app_id
          AND {NOT_ENDED}
          AND last_seen_at > :now - :idle AND login_at > :now - :absolute
        ORDER BY login_at DESC, handle LIMIT :limit
        """,  # noqa: S608
        {
            "source": account[0],
            "account_id": account[1],
            "app_id": app_id,
            "idle": idle_ms,
            "absolute": absolute_ms,
            "now": now_ms,
            "limit": limit,
        },
    )
    return [OwnSessionRecord._make(row) for row in rows]


def sessions_not_ended(tx: Transaction, account: tuple[str, str]) -> list[SessionRecord]:
    """The sessions of an account in all apps that nobody has ended; some may have expired."""
    rows = tx.execute(
        f"""
        SELECT {SESSION_COLUMNS} FROM sessions
        WHERE account_source = :source AND account_id = :account_id AND {NOT_ENDED}
        """,  # noqa: S608
        {"source": account[0], "account_id": account[1]},
    )
    return [SessionRecord._make(row) for row in rows]


def find_session_by_handle(tx: Transaction, handle: str) -> SessionRecord | None:
    """The session with this public name, live or dead."""
    rows = tx.execute(
        f"SELECT {SESSION_COLUMNS} FROM sessions WHERE handle = :handle",  # noqa: S608
        {"handle": handle},
    )
    return SessionRecord._make(rows[0]) if rows else None
