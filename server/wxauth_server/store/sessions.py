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


#: What makes a SessionRecord of a row, in its order: what is stored.
STORED_COLUMNS = ", ".join(SessionRecord._fields)


def _stored_or_of_app(column: str, column_of_app: str) -> str:
    of_app = (
        f"SELECT ended.{column_of_app} FROM sessions_valid_after AS ended"  # noqa: S608 - constants
        " WHERE ended.app_id = sessions.app_id AND ended.login_by >= sessions.login_at"
    )
    return f"COALESCE(sessions.{column}, ({of_app}))"


#: What makes a SessionRecord in a SELECT from `sessions`, in its order. A session that is
#: ended by a row of sessions_valid_after comes as ended: its own row may not say so yet.
#: Looked up by key, once for each of the two columns: a tenth more of the read (measured).
SESSION_COLUMNS = STORED_COLUMNS.replace(
    "ended_at, ended_cause",
    f"{_stored_or_of_app('ended_at', 'ended_at')}, {_stored_or_of_app('ended_cause', 'cause')}",
)

#: Nobody has ended the session, neither it alone nor with others; it may have expired. For
#: statements about `sessions`. Whatever asks this asks it with these words.
NOT_ENDED = """
  sessions.ended_at IS NULL AND NOT EXISTS (
    SELECT 1 FROM sessions_valid_after AS ended
    WHERE ended.app_id = sessions.app_id AND ended.login_by >= sessions.login_at
  )
"""


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
            INSERT INTO sessions ({STORED_COLUMNS},
              client_address, client_user_agent, client_device)
            VALUES (:{STORED_COLUMNS.replace(", ", ", :")},
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
        f"""
        UPDATE sessions SET unionid = :unionid
        WHERE app_id = :app_id AND openid = :openid AND {NOT_ENDED}
          AND (unionid IS NULL OR unionid <> :unionid)
        """,  # noqa: S608
        {"app_id": app_id, "openid": openid, "unionid": unionid},
    )


def touch_sessions(tx: Transaction, seen: Iterable[tuple[bytes, int, int]]) -> None:
    """Move the idle limit of sessions that were validated: (digest, seen at, idle limit).

    Never revives one: a session that is ended or past its idle limit stays so.
    """
    for digest, seen_at, idle_ms in seen:
        tx.execute(
            f"""
            UPDATE sessions SET last_seen_at = :seen_at
            WHERE digest = :digest AND last_seen_at < :seen_at AND {NOT_ENDED}
              AND last_seen_at + :idle > :seen_at
            """,  # noqa: S608
            {"digest": digest, "seen_at": seen_at, "idle": idle_ms},
        )
