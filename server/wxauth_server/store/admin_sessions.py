"""SQL of sessions as an operator lists them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from wxauth_server.apps import App
from wxauth_server.store.interface import Transaction
from wxauth_server.store.sessions import NOT_ENDED, SESSION_COLUMNS, SessionRecord


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

#: Sessions that a page with filters is chosen from: 30 ms (measured), so that a filter
#: that few of a million pass does not keep logins from reading.
LOOKED_AT = 5_000


class SessionPage(NamedTuple):
    """Sessions, and behind which one the next page begins; None on the last page."""

    entries: list[SessionEntry]
    next: SessionPosition | None


def list_session_entries(
    tx: Transaction,
    *,
    account: tuple[str, str] | None,
    app_id: str,
    live_in: Iterable[App] | None,
    now_ms: int,
    after: SessionPosition,
    limit: int,
) -> SessionPage:
    """Sessions behind a position, newest login first. What is empty or None filters nothing.

    `live_in` leaves those that are live in one of these apps. No more than LOOKED_AT
    sessions are looked at for a filter, so a page may be short and not be the last.
    """
    source, account_id = account or ("", "")
    wanted, parameters = _wanted(app_id, live_in, now_ms)
    parameters |= {
        "at": after.login_at,
        "handle": after.handle,
        "source": source,
        "account_id": account_id,
        "looked_at": LOOKED_AT if app_id or live_in is not None else limit + 1,
        "limit": limit + 1,
    }
    of_account = "account_source = :source AND account_id = :account_id AND" if account else ""
    behind = f"""
        WHERE {of_account} login_at <= :at AND (login_at < :at OR handle > :handle)
        ORDER BY login_at DESC, handle"""
    rows = tx.execute(
        f"""
        WITH looked_at AS (SELECT * FROM sessions {behind} LIMIT :looked_at)
        SELECT {SESSION_COLUMNS}, client_address, client_device FROM looked_at AS sessions
        WHERE {wanted} ORDER BY login_at DESC, handle LIMIT :limit
        """,  # noqa: S608
        parameters,
    )
    found = [SessionEntry(SessionRecord._make(row[:-2]), row[-2], row[-1]) for row in rows]
    if len(found) > limit:
        last = found[limit - 1].record
        return SessionPage(found[:limit], SessionPosition(last.login_at, last.handle))
    looked_to = tx.execute(
        f"SELECT login_at, handle FROM sessions {behind} LIMIT 1 OFFSET :looked_at - 1",  # noqa: S608
        parameters,
    )
    return SessionPage(found, SessionPosition._make(looked_to[0]) if looked_to else None)


def _wanted(
    app_id: str, live_in: Iterable[App] | None, now_ms: int
) -> tuple[str, dict[str, object]]:
    """A condition and its parameters."""
    conditions = ["1 = 1"]
    parameters: dict[str, object] = {"app_id": app_id}
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
        conditions.append(f"{NOT_ENDED} AND ({' OR '.join(alternatives)})")
    return " AND ".join(conditions), parameters
