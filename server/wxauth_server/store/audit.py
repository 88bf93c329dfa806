"""The audit log: what was decided about whom. No secret is ever part of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from wxauth_server.store.interface import Transaction


class Event(StrEnum):
    """What happened."""

    LOGIN = "LOGIN"
    LOGIN_REFUSED = "LOGIN_REFUSED"
    CODE_REPLAYED = "CODE_REPLAYED"
    BOUND = "BOUND"
    REBOUND = "REBOUND"
    UNBOUND = "UNBOUND"
    UNBIND_REFUSED = "UNBIND_REFUSED"
    LOGOUT = "LOGOUT"
    SESSION_REPLACED = "SESSION_REPLACED"
    SESSION_KEY_UNREADABLE = "SESSION_KEY_UNREADABLE"
    SESSION_KEY_RESET = "SESSION_KEY_RESET"
    ACCOUNT_ADDED = "ACCOUNT_ADDED"
    ACCOUNT_DISABLED = "ACCOUNT_DISABLED"
    ACCOUNT_ENABLED = "ACCOUNT_ENABLED"
    PASSWORD_SET = "PASSWORD_SET"  # noqa: S105 - the name of an event
    PHONE_SET = "PHONE_SET"
    USERNAME_SET = "USERNAME_SET"
    ACCOUNTS_IMPORTED = "ACCOUNTS_IMPORTED"
    ACCOUNT_DELETED = "ACCOUNT_DELETED"
    DELETE_REFUSED = "DELETE_REFUSED"
    SESSION_REVOKED = "SESSION_REVOKED"
    SESSIONS_ENDED = "SESSIONS_ENDED"
    THROTTLED = "THROTTLED"
    PASSWORD_LOCKED = "PASSWORD_LOCKED"  # noqa: S105 - the name of an event
    UNLOCKED = "UNLOCKED"


class Actor(StrEnum):
    """Who did it."""

    #: Whoever has the WeChat account, the password or the session.
    USER = "user"
    #: A caller of AdminService.
    ADMIN = "admin"
    #: The `wxauth` command on the data directory.
    COMMAND = "command"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where what an operator does comes from."""

    #: The IP address of the caller of AdminService. Empty: none is known.
    client_address: str = ""
    #: The name of that caller. Empty: there is none.
    caller: str = ""


#: From a command on the data directory.
HERE = Origin()


def record_event(
    tx: Transaction,
    event: Event,
    *,
    now_ms: int,
    actor: Actor = Actor.USER,
    reason: str | None = None,
    app_id: str | None = None,
    openid: str | None = None,
    account: tuple[str, str] | None = None,
    session_handle: str | None = None,
    client_address: str | None = None,
    caller: str | None = None,
    count: int = 1,
) -> None:
    """Append one event, in the transaction of what it tells. `account` is (source, id).

    `caller` is the name of the caller of AdminService who did it. It and `client_address`
    may be empty where there is none. `count` is how many of what the event names this did
    at once, such as accounts that were imported.
    """
    source, account_id = account or (None, None)
    tx.execute(
        """
        INSERT INTO audit_events (at, event, actor, caller, reason, app_id, openid,
          account_source, account_id, session_handle, client_address, count)
        VALUES (:at, :event, :actor, :caller, :reason, :app_id, :openid, :source, :account_id,
          :session_handle, :client_address, :count)
        """,
        {
            "at": now_ms,
            "event": event.value,
            "actor": actor.value,
            "caller": caller or None,
            "reason": reason,
            "app_id": app_id,
            "openid": openid,
            "source": source,
            "account_id": account_id,
            "session_handle": session_handle,
            "client_address": client_address or None,
            "count": count,
        },
    )


def count_refusals(
    tx: Transaction,
    event: Event,
    *,
    count_key: bytes,
    minute_ms: int,
    count: int,
    reason: str,
    app_id: str,
    openid: str,
    client_address: str,
) -> None:
    """Let the one event with this key stand for `count` refusals in a minute.

    Safe to repeat: `count` is how many there were in all, not how many more.
    Empty texts are absent ones.
    """
    tx.execute(
        """
        INSERT INTO audit_events (at, event, actor, reason, app_id, openid, client_address,
          count, count_key)
        VALUES (:at, :event, :actor, :reason, :app_id, :openid, :client_address, :count,
          :count_key)
        ON CONFLICT (count_key) WHERE count_key IS NOT NULL DO UPDATE SET count = :count
        """,
        {
            "at": minute_ms,
            "event": event.value,
            "actor": Actor.USER.value,
            "reason": reason or None,
            "app_id": app_id or None,
            "openid": openid or None,
            "client_address": client_address or None,
            "count": count,
            "count_key": count_key,
        },
    )
