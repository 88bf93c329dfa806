"""SQL of sessions that an operator ends, many at once."""

from __future__ import annotations

from wxauth_server.store.interface import Transaction
from wxauth_server.store.sessions import SESSION_COLUMNS, Cause, SessionRecord


def end_sessions_but(
    tx: Transaction,
    account: tuple[str, str],
    cause: Cause,
    *,
    kept_handle: str | None,
    now_ms: int,
) -> list[SessionRecord]:
    """End every session of an account but one; those that had not been ended before.

    The session_keys of WeChat users to whom none is left go too.
    """
    of_account = {"source": account[0], "account_id": account[1]}
    rows = tx.execute(
        f"""
        UPDATE sessions SET ended_at = :now, ended_cause = :cause
        WHERE account_source = :source AND account_id = :account_id AND ended_at IS NULL
          AND handle <> :kept
        RETURNING {SESSION_COLUMNS}
        """,  # noqa: S608
        of_account | {"cause": cause.value, "kept": kept_handle or "", "now": now_ms},
    )
    tx.execute(
        """
        UPDATE bindings SET session_key = NULL, session_key_id = NULL
        WHERE account_source = :source AND account_id = :account_id AND session_key IS NOT NULL
          AND NOT EXISTS (
            SELECT 1 FROM sessions
            WHERE sessions.app_id = bindings.app_id AND sessions.openid = bindings.openid
              AND ended_at IS NULL
          )
        """,
        of_account,
    )
    return [SessionRecord._make(row) for row in rows]


def end_some_sessions_of_app(
    tx: Transaction, app_id: str, cause: Cause, *, begun_by_ms: int, limit: int, now_ms: int
) -> list[SessionRecord]:
    """End at most `limit` sessions of an app that began by a time; those that had not ended.

    They are those of the first WeChat users by openid, and the session_keys of
    users to whom none is left go with them.
    """
    rows = tx.execute(
        f"""
        UPDATE sessions SET ended_at = :now, ended_cause = :cause
        WHERE digest IN (
          SELECT digest FROM sessions
          WHERE app_id = :app_id AND ended_at IS NULL AND login_at <= :begun_by
          ORDER BY openid LIMIT :limit
        )
        RETURNING {SESSION_COLUMNS}
        """,  # noqa: S608
        {
            "app_id": app_id,
            "begun_by": begun_by_ms,
            "cause": cause.value,
            "limit": limit,
            "now": now_ms,
        },
    )
    ended = [SessionRecord._make(row) for row in rows]
    if ended:
        openids = [session.openid for session in ended]
        tx.execute(
            """
            UPDATE bindings SET session_key = NULL, session_key_id = NULL
            WHERE app_id = :app_id AND openid BETWEEN :first AND :last
              AND session_key IS NOT NULL
              AND NOT EXISTS (
                SELECT 1 FROM sessions
                WHERE sessions.app_id = bindings.app_id AND sessions.openid = bindings.openid
                  AND ended_at IS NULL
              )
            """,
            {"app_id": app_id, "first": min(openids), "last": max(openids)},
        )
    return ended
