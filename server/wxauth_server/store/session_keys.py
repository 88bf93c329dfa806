"""SQL of session_keys: they lie sealed on the binding and go with its last live session."""

from __future__ import annotations

from collections.abc import Sequence

from wxauth_server.store.interface import Transaction

_LIVE = """
  SELECT 1 FROM sessions
  WHERE sessions.app_id = bindings.app_id AND sessions.openid = bindings.openid
    AND ended_at IS NULL AND last_seen_at > :now - :idle AND login_at > :now - :absolute
"""


def replace_session_key(
    tx: Transaction,
    app_id: str,
    openid: str,
    *,
    former: bytes,
    session_key: bytes,
    session_key_id: str,
) -> bool:
    """Store another session_key in place of `former`; False if that is no longer there."""
    return bool(
        tx.execute(
            """
            UPDATE bindings SET session_key = :session_key, session_key_id = :session_key_id
            WHERE app_id = :app_id AND openid = :openid AND session_key = :former
            RETURNING openid
            """,
            {
                "app_id": app_id,
                "openid": openid,
                "former": former,
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


def erase_session_keys_of_account(tx: Transaction, account: tuple[str, str]) -> None:
    """Erase the session_keys of an account, all of whose sessions have just ended."""
    tx.execute(
        """
        UPDATE bindings SET session_key = NULL, session_key_id = NULL
        WHERE account_source = :source AND account_id = :account_id AND session_key IS NOT NULL
        """,
        {"source": account[0], "account_id": account[1]},
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
