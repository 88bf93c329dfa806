"""SQL that ends sessions before their time, and has the revocation log tell of it.

Everything that does is here, so that nothing ends a session that others go on
answering for from memory.
"""

from __future__ import annotations

from collections.abc import Mapping

from wxauth_server.store.interface import Transaction
from wxauth_server.store.revocation_log import Revocation
from wxauth_server.store.sessions import NOT_ENDED, STORED_COLUMNS, Cause, SessionRecord

_OF_ACCOUNT = "account_source = :source AND account_id = :account_id"


def end_session(tx: Transaction, digest: bytes, cause: Cause, *, now_ms: int) -> bool:
    """End one session; False if it was ended before."""
    of_session = "(app_id, openid) = (SELECT app_id, openid FROM sessions WHERE digest = :digest)"
    _lock_bindings(tx, of_session, {"digest": digest})
    return bool(_end(tx, "digest = :digest", {"digest": digest}, cause, now_ms=now_ms))


def end_surplus_sessions(
    tx: Transaction,
    *,
    app_id: str,
    openid: str,
    newest_digest: bytes,
    keep: int,
    idle_ms: int,
    absolute_ms: int,
    now_ms: int,
) -> list[str]:
    """End the oldest logins beyond `keep` live sessions of a WeChat user; their handles.

    Live as of now; the one that `newest_digest` names always stays.
    """
    surplus = f"""
        digest IN (
          SELECT digest FROM sessions
          WHERE app_id = :app_id AND openid = :openid AND {NOT_ENDED}
            AND last_seen_at > :now - :idle AND login_at > :now - :absolute
          ORDER BY CASE WHEN digest = :newest THEN 0 ELSE 1 END, login_at DESC, handle
          LIMIT 1000000 OFFSET :keep
        )"""  # noqa: S608
    parameters = {
        "app_id": app_id,
        "openid": openid,
        "newest": newest_digest,
        "keep": keep,
        "idle": idle_ms,
        "absolute": absolute_ms,
    }
    ended = _end(tx, surplus, parameters, Cause.REPLACED, now_ms=now_ms)
    return [session.handle for session in ended]


def end_sessions_of_wechat_user(
    tx: Transaction, app_id: str, openid: str, cause: Cause, *, now_ms: int
) -> list[SessionRecord]:
    """End every session of a WeChat user in an app; those that had not been ended before.

    Some of them may have been past their limits.
    """
    of_user = {"app_id": app_id, "openid": openid}
    return _end(tx, "app_id = :app_id AND openid = :openid", of_user, cause, now_ms=now_ms)


def end_sessions_of_account(
    tx: Transaction, account: tuple[str, str], cause: Cause, *, now_ms: int
) -> int:
    """End every session of an account in all apps; how many had not been ended before."""
    of_account = {"source": account[0], "account_id": account[1]}
    return len(_end(tx, _OF_ACCOUNT, of_account, cause, now_ms=now_ms))


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
    others = of_account | {"kept": kept_handle or ""}
    _lock_bindings(tx, _OF_ACCOUNT, of_account)
    ended = _end(tx, f"{_OF_ACCOUNT} AND handle <> :kept", others, cause, now_ms=now_ms)
    _erase_session_keys(tx, _OF_ACCOUNT, of_account)
    return ended


def end_some_sessions_of_app(
    tx: Transaction, app_id: str, cause: Cause, *, begun_by_ms: int, limit: int, now_ms: int
) -> list[SessionRecord]:
    """End all sessions of an app that began by a time, and have the rows of some say so.

    They are ended all at once by one row and one entry of the log. At most `limit` rows,
    which had not ended, are marked and returned each time.
    """
    raised = tx.execute(
        """
        INSERT INTO sessions_valid_after (app_id, login_by, ended_at, cause)
        VALUES (:app_id, :login_by, :now, :cause)
        ON CONFLICT (app_id) DO UPDATE
          SET login_by = :login_by, ended_at = :now, cause = :cause
          WHERE sessions_valid_after.login_by < :login_by
        RETURNING app_id
        """,
        {"app_id": app_id, "login_by": begun_by_ms, "now": now_ms, "cause": cause.value},
    )
    if raised:
        tx.revocations.append(Revocation(now_ms, app_id=app_id, login_by=begun_by_ms))
    return mark_some_ended(tx, app_id, limit=limit)


def mark_some_ended(tx: Transaction, app_id: str, *, limit: int) -> list[SessionRecord]:
    """Have the rows of some sessions that ended with their app say so; those sessions.

    They are those of the first WeChat users by openid, and the session_keys of users to
    whom none is left go with them. The log has told of them before.
    """
    ends = tx.execute(
        "SELECT login_by, ended_at, cause FROM sessions_valid_after WHERE app_id = :app_id",
        {"app_id": app_id},
    )
    if not ends:
        return []
    [(login_by, ended_at, cause)] = ends
    some = """
        FROM sessions WHERE app_id = :app_id AND ended_at IS NULL AND login_at <= :login_by
        ORDER BY openid LIMIT :limit
        """
    of_some = {"app_id": app_id, "login_by": login_by, "limit": limit}
    [(first, last)] = tx.execute(
        f"SELECT MIN(openid), MAX(openid) FROM (SELECT openid {some}) AS next",  # noqa: S608
        of_some,
    )
    if first is None:
        return []
    # Before the rows of the sessions, in the order of the locks: they are ended already.
    _erase_session_keys(
        tx,
        "app_id = :app_id AND openid BETWEEN :first AND :last",
        {"app_id": app_id, "first": first, "last": last},
    )
    rows = tx.execute(
        f"""
        UPDATE sessions SET ended_at = :ended_at, ended_cause = :cause
        WHERE digest IN (SELECT digest {some})
        RETURNING {STORED_COLUMNS}
        """,  # noqa: S608
        of_some | {"ended_at": ended_at, "cause": cause},
    )
    return [SessionRecord._make(row) for row in rows]


def _end(
    tx: Transaction,
    condition: str,
    parameters: Mapping[str, object],
    cause: Cause,
    *,
    now_ms: int,
) -> list[SessionRecord]:
    """End the sessions that a condition names; those that had not been ended before."""
    rows = tx.execute(
        f"""
        UPDATE sessions SET ended_at = :now, ended_cause = :cause
        WHERE {condition} AND {NOT_ENDED}
        RETURNING {STORED_COLUMNS}
        """,  # noqa: S608
        {**parameters, "cause": cause.value, "now": now_ms},
    )
    ended = [SessionRecord._make(row) for row in rows]
    tx.revocations.extend(Revocation(now_ms, session.digest) for session in ended)
    return ended


def _lock_bindings(tx: Transaction, condition: str, parameters: Mapping[str, object]) -> None:
    """Hold the bindings whose session_key may go with sessions that are about to end.

    A login holds its binding and then ends sessions: who came to a binding with locks of
    sessions would wait for it, and it for them.
    """
    tx.execute(
        f"""
        UPDATE bindings SET session_key_at = session_key_at
        WHERE {condition} AND session_key IS NOT NULL
        """,  # noqa: S608
        parameters,
    )


def _erase_session_keys(tx: Transaction, condition: str, parameters: Mapping[str, object]) -> None:
    """Erase the session_keys of those of these WeChat users who have no session left."""
    tx.execute(
        f"""
        UPDATE bindings SET session_key = NULL, session_key_id = NULL
        WHERE {condition} AND session_key IS NOT NULL
          AND NOT EXISTS (
            SELECT 1 FROM sessions
            WHERE sessions.app_id = bindings.app_id AND sessions.openid = bindings.openid
              AND {NOT_ENDED}
          )
        """,  # noqa: S608
        parameters,
    )
