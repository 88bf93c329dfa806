"""SQL of sessions as an operator lists and ends them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from wxauth_server.apps import App
from wxauth_server.store.interface import Transaction
from wxauth_server.store.sessions import SESSION_COLUMNS, Cause, SessionRecord


class SessionEntry(NamedTuple):
    """A session, and from where and with what its user logged in."""

    record: SessionRecord
    client_address: str | None
    client_device: str | None


class SessionPosition(NamedTuple):
    """Behind which session a page begins."""

    login_at: int
    handle: str


#: Before the newest session.
NEWEST = SessionPosition(2**62, "")


def list_session_entries(
    tx: Transaction,
    *,
    account: tuple[str, str] | None,
    app_id: str,
    live_in: Iterable[App] | None,
    now_ms: int,
    after: SessionPosition,
    limit: int,
) -> list[SessionEntry]:
    """Sessions behind a position, newest login first. What is empty or None filters nothing.

    `live_in` leaves those that are live in one of these apps.
    """
    conditions = ["(login_at < :at OR login_at = :at AND handle > :handle)"]
    source, account_id = account or ("", "")
    parameters: dict[str, object] = {
        "at": after.login_at,
        "handle": after.handle,
        "source": source,
        "account_id": account_id,
        "app_id": app_id,
        "limit": limit,
    }
    if account is not None:
        conditions.append("account_source = :source AND account_id = :account_id")
    if app_id:
        conditions.append("app_id = :app_id")
    if live_in is not None:
        alternatives = ["1 = 0"]
        for number, app in enumerate(live_in):
            alternatives.append(
                f"app_id = :app{number}"
                f" AND last_seen_at > :idle_since{number} AND login_at > :since{number}"
            )
            parameters[f"app{number}"] = app.app_id
            parameters[f"idle_since{number}"] = now_ms - app.limits.idle_ms
            parameters[f"since{number}"] = now_ms - app.limits.absolute_ms
        conditions.append(f"ended_at IS NULL AND ({' OR '.join(alternatives)})")
    rows = tx.execute(
        f"""
        SELECT {SESSION_COLUMNS}, client_address, client_device FROM sessions
        WHERE {" AND ".join(conditions)} ORDER BY login_at DESC, handle LIMIT :limit
        """,  # noqa: S608
        parameters,
    )
    return [SessionEntry(SessionRecord._make(row[:-2]), row[-2], row[-1]) for row in rows]


def find_session_by_handle(tx: Transaction, handle: str) -> SessionRecord | None:
    rows = tx.execute(
        f"SELECT {SESSION_COLUMNS} FROM sessions WHERE handle = :handle",  # noqa: S608
        {"handle": handle},
    )
    return SessionRecord._make(rows[0]) if rows else None


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
