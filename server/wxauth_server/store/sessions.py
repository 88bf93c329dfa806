"""Steps 5 and 7: SQL of sessions."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

from wxauth_server.store.interface import Transaction


class Cause(StrEnum):
    """Why a session was ended before its time: the causes of error_reason.proto."""

    LOGOUT = "LOGOUT"
    UNBOUND = "UNBOUND"
    REBOUND = "REBOUND"
    REPLACED = "REPLACED"
    PASSWORD_CHANGED = "PASSWORD_CHANGED"  # noqa: S105 - the name of a cause
    ACCOUNT_DISABLED = "ACCOUNT_DISABLED"
    ACCOUNT_DELETED = "ACCOUNT_DELETED"
    ADMIN = "ADMIN"


class SessionRecord(NamedTuple):
    """A session with what a validation answers. Times in milliseconds since 1970."""

    digest: bytes
    handle: str
    app_id: str
    openid: str
    login_at: int
    last_seen_at: int
    ended_at: int | None
    ended_cause: str | None
    account_source: str
    account_id: str
    username: str | None
    display_name: str | None
    unionid: str | None

    @property
    def account(self) -> tuple[str, str]:
        return (self.account_source, self.account_id)

    @classmethod
    def beginning(
        cls,
        *,
        digest: bytes,
        handle: str,
        app_id: str,
        openid: str,
        account: tuple[str, str],
        username: str | None = None,
        display_name: str | None = None,
        unionid: str | None = None,
        now_ms: int,
    ) -> SessionRecord:
        """A session that begins now."""
        return cls(
            digest=digest,
            handle=handle,
            app_id=app_id,
            openid=openid,
            login_at=now_ms,
            last_seen_at=now_ms,
            ended_at=None,
            ended_cause=None,
            account_source=account[0],
            account_id=account[1],
            username=username,
            display_name=display_name,
            unionid=unionid,
        )


#: What makes a SessionRecord, in its order.
SESSION_COLUMNS = ", ".join(SessionRecord._fields)


def read_session(tx: Transaction, digest: bytes) -> SessionRecord | None:
    """The session with this digest, live or dead; None if it was never issued.

    Validations read through `Store.read_sessions`, which is faster.
    """
    rows = tx.execute(
        f"SELECT {SESSION_COLUMNS} FROM sessions WHERE digest = :digest",  # noqa: S608
        {"digest": digest},
    )
    return SessionRecord._make(rows[0]) if rows else None


def insert_session(
    tx: Transaction,
    session: SessionRecord,
    *,
    client_address: str = "",
    client_user_agent: str = "",
    client_device: str = "",
) -> bool:
    """Store a session that begins; False if its digest is there already."""
    return bool(
        tx.execute(
            f"""
            INSERT INTO sessions ({SESSION_COLUMNS},
              client_address, client_user_agent, client_device)
            VALUES (:{SESSION_COLUMNS.replace(", ", ", :")},
              NULLIF(:address, ''), NULLIF(:user_agent, ''), NULLIF(:device, ''))
            ON CONFLICT (digest) DO NOTHING RETURNING handle
            """,  # noqa: S608
            session._asdict()
            | {
                "address": client_address,
                "user_agent": client_user_agent,
                "device": client_device,
            },
        )
    )


def update_unionid(tx: Transaction, app_id: str, openid: str, unionid: str) -> None:
    """Tell the sessions of a WeChat user the unionid that appeared or changed."""
    tx.execute(
        """
        UPDATE sessions SET unionid = :unionid
        WHERE app_id = :app_id AND openid = :openid AND ended_at IS NULL
          AND (unionid IS NULL OR unionid <> :unionid)
        """,
        {"app_id": app_id, "openid": openid, "unionid": unionid},
    )


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
    rows = tx.execute(
        """
        UPDATE sessions SET ended_at = :now, ended_cause = :cause
        WHERE digest IN (
          SELECT digest FROM sessions
          WHERE app_id = :app_id AND openid = :openid AND ended_at IS NULL
            AND last_seen_at > :now - :idle AND login_at > :now - :absolute
          ORDER BY CASE WHEN digest = :newest THEN 0 ELSE 1 END, login_at DESC, handle
          LIMIT 1000000 OFFSET :keep
        )
        RETURNING handle
        """,
        {
            "app_id": app_id,
            "openid": openid,
            "newest": newest_digest,
            "keep": keep,
            "idle": idle_ms,
            "absolute": absolute_ms,
            "now": now_ms,
            "cause": Cause.REPLACED.value,
        },
    )
    return [handle for (handle,) in rows]


def end_session(tx: Transaction, digest: bytes, cause: Cause, *, now_ms: int) -> bool:
    """End one session; False if it was ended before."""
    return bool(
        tx.execute(
            """
            UPDATE sessions SET ended_at = :now, ended_cause = :cause
            WHERE digest = :digest AND ended_at IS NULL RETURNING handle
            """,
            {"digest": digest, "cause": cause.value, "now": now_ms},
        )
    )


def end_sessions_of_wechat_user(
    tx: Transaction, app_id: str, openid: str, cause: Cause, *, now_ms: int
) -> list[SessionRecord]:
    """End every session of a WeChat user in an app; those that had not been ended before.

    Some of them may have been past their limits.
    """
    rows = tx.execute(
        f"""
        UPDATE sessions SET ended_at = :now, ended_cause = :cause
        WHERE app_id = :app_id AND openid = :openid AND ended_at IS NULL
        RETURNING {SESSION_COLUMNS}
        """,  # noqa: S608
        {"app_id": app_id, "openid": openid, "cause": cause.value, "now": now_ms},
    )
    return [SessionRecord._make(row) for row in rows]


def end_sessions_of_account(
    tx: Transaction, account: tuple[str, str], cause: Cause, *, now_ms: int
) -> int:
    """End every session of an account in all apps; how many had not been ended before."""
    rows = tx.execute(
        """
        UPDATE sessions SET ended_at = :now, ended_cause = :cause
        WHERE account_source = :source AND account_id = :account_id AND ended_at IS NULL
        RETURNING handle
        """,
        {"source": account[0], "account_id": account[1], "cause": cause.value, "now": now_ms},
    )
    return len(rows)


def touch_sessions(tx: Transaction, seen: Iterable[tuple[bytes, int, int]]) -> None:
    """Move the idle limit of sessions that were validated: (digest, seen at, idle limit).

    Never revives one: a session that is ended or past its idle limit stays so.
    """
    for digest, seen_at, idle_ms in seen:
        tx.execute(
            """
            UPDATE sessions SET last_seen_at = :seen_at
            WHERE digest = :digest AND last_seen_at < :seen_at AND ended_at IS NULL
              AND last_seen_at + :idle > :seen_at
            """,
            {"digest": digest, "seen_at": seen_at, "idle": idle_ms},
        )
