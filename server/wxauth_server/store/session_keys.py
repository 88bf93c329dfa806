"""SQL of session_keys: they lie sealed on the binding and go with its last live session."""

from __future__ import annotations

from collections.abc import Sequence

from wxauth_server.store.interface import Transaction
from wxauth_server.store.sessions import NOT_ENDED

_LIVE = f"""
  SELECT 1 FROM sessions
  WHERE sessions.app_id = bindings.app_id AND sessions.openid = bindings.openid
    AND {NOT_ENDED} AND last_seen_at > :now - :idle AND login_at > :now - :absolute
"""  # noqa: S608


def renew_session_key(
    tx: Transaction,
    app_id: str,
    openid: str,
    *,
    session_key: bytes | None,
    session_key_id: str | None,
    session_key_at: int,
) -> None:
    """Store the session_key of a later moment in place of the one that is there, if one is.

    For a code that gave no session: WeChat has put the former one out of use, and
    the sessions that there are need this one.
    """
    tx.execute(
        """
        UPDATE bindings SET session_key = :session_key, session_key_id = :session_key_id,
          session_key_at = :session_key_at
        WHERE app_id = :app_id AND openid = :openid AND session_key IS NOT NULL
          AND :session_key_at >= COALESCE(session_key_at, 0)
        """,
        {
            "app_id": app_id,
            "openid": openid,
            "session_key": session_key,
            "session_key_id": session_key_id,
            "session_key_at": session_key_at,
        },
    )


def replace_session_key(
    tx: Transaction,
    app_id: str,
    openid: str,
    *,
    former: bytes,
    session_key: bytes,
    session_key_id: str,
    now_ms: int,
) -> bool:
    """Store another session_key in place of `former`; False if that is no longer there."""
    return bool(
        tx.execute(
            """
            UPDATE bindings SET session_key = :session_key, session_key_id = :session_key_id,
              session_key_at = :now
            WHERE app_id = :app_id AND openid = :openid AND session_key = :former
            RETURNING openid
            """,
            {
                "app_id": app_id,
                "openid": openid,
                "former": former,
                "now": now_ms,
                "session_key": session_key,
                "session_key_id": session_key_id,
            },
        )
    )


def erase_session_key_without_session(
    tx: Transaction, app_id: str, openid: str, *, idle_ms: int, absolute_ms: int, now_ms: int
) -> bool:
    """Erase the session_key of a WeChat user without a live session; whether there was one."""
    return bool(
        tx.execute(
            f"""
            UPDATE bindings SET session_key = NULL, session_key_id = NULL
            WHERE app_id = :app_id AND openid = :openid AND session_key IS NOT NULL
              AND NOT EXISTS ({_LIVE})
            RETURNING openid
            """,  # noqa: S608
            {
                "app_id": app_id,
                "openid": openid,
                "idle": idle_ms,
                "absolute": absolute_ms,
                "now": now_ms,
            },
        )
    )


def next_session_keys(
    tx: Transaction,
    app_id: str,
    *,
    after_openid: str,
    idle_ms: int,
    absolute_ms: int,
    now_ms: int,
    limit: int,
) -> Sequence[tuple[str, bool]]:
    """The next WeChat users of an app that have a session_key, and whether a live session.

    In the order of their openids, from behind `after_openid` on.
    """
    rows = tx.execute(
        f"""
        SELECT openid, EXISTS ({_LIVE}) FROM bindings
        WHERE app_id = :app_id AND openid > :after AND session_key IS NOT NULL
        ORDER BY openid LIMIT :limit
        """,  # noqa: S608
        {
            "app_id": app_id,
            "after": after_openid,
            "idle": idle_ms,
            "absolute": absolute_ms,
            "now": now_ms,
            "limit": limit,
        },
    )
    return [(openid, bool(live)) for openid, live in rows]
