"""SQL of departures: users who have left, and the rows that still tell of them."""

from __future__ import annotations

from typing import NamedTuple

from wxauth_server.store.interface import Transaction
from wxauth_server.store.sessions import NOT_ENDED


class Departure(NamedTuple):
    """An account that has left, or with `openid` a WeChat user who was that account."""

    account_source: str
    account_id: str
    app_id: str
    openid: str
    #: Milliseconds since 1970. Who comes back begins after it.
    left_at: int


class PersonalSession(NamedTuple):
    """A dead session that still says whose it was."""

    digest: bytes
    app_id: str
    openid: str


class PersonalEvent(NamedTuple):
    """What an audit event says of a person."""

    id: int
    app_id: str | None
    openid: str | None
    account_id: str | None
    session_handle: str | None


_OF_ACCOUNT = "account_source = :source AND account_id = :account_id"
_EVENT_COLUMNS = ", ".join(PersonalEvent._fields)


def note_departures(tx: Transaction, account: tuple[str, str], *, now_ms: int) -> None:
    """Note that an account leaves, and every WeChat user who is bound to it."""
    tx.execute(
        f"""
        INSERT INTO departures (account_source, account_id, app_id, openid, left_at)
        SELECT :source, :account_id, app_id, openid, :now
        FROM (
          SELECT '' AS app_id, '' AS openid
          UNION ALL SELECT app_id, openid FROM bindings WHERE {_OF_ACCOUNT}
        ) AS leaving
        WHERE true
        ON CONFLICT (account_source, account_id, app_id, openid)
          DO UPDATE SET left_at = :now
        """,  # noqa: S608
        {"source": account[0], "account_id": account[1], "now": now_ms},
    )


def note_former_wechat_user(
    tx: Transaction, departure: Departure, app_id: str, openid: str
) -> None:
    """Note that a WeChat user who was the account has left too, unless now another account."""
    tx.execute(
        """
        INSERT INTO departures (account_source, account_id, app_id, openid, left_at)
        SELECT :source, :account_id, :app_id, :openid, :left_at
        WHERE NOT EXISTS (
          SELECT 1 FROM bindings WHERE app_id = :app_id AND openid = :openid
            AND (account_source, account_id) <> (:source, :account_id)
        )
        ON CONFLICT (account_source, account_id, app_id, openid) DO NOTHING
        """,
        {
            "source": departure.account_source,
            "account_id": departure.account_id,
            "app_id": app_id,
            "openid": openid,
            "left_at": departure.left_at,
        },
    )


def delete_bindings_of_account(
    tx: Transaction, account: tuple[str, str], *, logins_since_ms: int
) -> int:
    """End every binding of an account, its logins that are under way too; how many bindings.

    A login that began since then and waits for its password or its source finds its
    exchange gone.
    """
    parameters = {"source": account[0], "account_id": account[1]}
    tx.execute(
        f"""
        DELETE FROM exchanges WHERE exchanged_at >= :since AND (app_id, openid) IN (
          SELECT app_id, openid FROM bindings WHERE {_OF_ACCOUNT}
        )
        """,  # noqa: S608
        parameters | {"since": logins_since_ms},
    )
    tx.execute(
        f"""
        DELETE FROM no_sibling WHERE (app_id, openid) IN (
          SELECT app_id, openid FROM bindings WHERE {_OF_ACCOUNT}
        )
        """,  # noqa: S608
        parameters,
    )
    return len(
        tx.execute(f"DELETE FROM bindings WHERE {_OF_ACCOUNT} RETURNING openid", parameters)  # noqa: S608
    )


def next_departure(
    tx: Transaction, *, after: Departure | None = None, account: tuple[str, str] | None = None
) -> Departure | None:
    """Who comes next, longest ago first, an account before its WeChat users; of one if given."""
    whose = f"AND {_OF_ACCOUNT}" if account else ""
    source, account_id = account or ("", "")
    rows = tx.execute(
        f"""
        SELECT {", ".join(Departure._fields)} FROM departures
        WHERE (left_at, account_source, account_id, app_id, openid)
          > (:left_at, :after_source, :after_id, :app_id, :openid) {whose}
        ORDER BY left_at, account_source, account_id, app_id, openid LIMIT 1
        """,  # noqa: S608
        {
            "left_at": after.left_at if after else -1,
            "after_source": after.account_source if after else "",
            "after_id": after.account_id if after else "",
            "app_id": after.app_id if after else "",
            "openid": after.openid if after else "",
            "source": source,
            "account_id": account_id,
        },
    )
    return Departure._make(rows[0]) if rows else None


def end_departure(tx: Transaction, departure: Departure) -> None:
    """Nothing tells of them any more, unless they have left once more."""
    tx.execute(
        """
        DELETE FROM departures
        WHERE account_source = :account_source AND account_id = :account_id
          AND app_id = :app_id AND openid = :openid AND left_at = :left_at
        """,
        departure._asdict(),
    )


def personal_sessions(
    tx: Transaction, departure: Departure, *, pseudonym_prefix: str, limit: int
) -> list[PersonalSession]:
    """Dead sessions of an account that still say whose they were."""
    rows = tx.execute(
        f"""
        SELECT {", ".join(PersonalSession._fields)} FROM sessions
        WHERE {_OF_ACCOUNT} AND NOT ({NOT_ENDED}) AND openid NOT LIKE :pseudonyms
        LIMIT :limit
        """,  # noqa: S608
        {
            "source": departure.account_source,
            "account_id": departure.account_id,
            "pseudonyms": f"{pseudonym_prefix}%",
            "limit": limit,
        },
    )
    return [PersonalSession._make(row) for row in rows]


def depersonalise_session(tx: Transaction, digest: bytes, *, openid: str) -> None:
    """Leave of a session what its client needs to be told why it ended."""
    tx.execute(
        """
        UPDATE sessions SET openid = :openid, username = NULL, display_name = NULL,
          unionid = NULL, client_address = NULL, client_user_agent = NULL, client_device = NULL
        WHERE digest = :digest
        """,
        {"digest": digest, "openid": openid},
    )


def personal_events(tx: Transaction, departure: Departure, *, limit: int) -> list[PersonalEvent]:
    """The audit events that tell of whoever has left, from before that; oldest first."""
    if departure.openid:
        whose = "app_id = :app_id AND openid = :openid"
    else:
        whose = "account_source = :account_source AND account_id = :account_id"
    rows = tx.execute(
        f"""
        SELECT {_EVENT_COLUMNS} FROM audit_events
        WHERE {whose} AND at <= :left_at ORDER BY id LIMIT :limit
        """,  # noqa: S608
        departure._asdict() | {"limit": limit},
    )
    return [PersonalEvent._make(row) for row in rows]


def depersonalise_event(tx: Transaction, event: PersonalEvent) -> None:
    """Let an audit event say this of a person from now on, and no address.

    It counts no more: what else happens in its minute is another's.
    """
    tx.execute(
        """
        UPDATE audit_events SET openid = :openid, account_id = :account_id,
          session_handle = :session_handle, client_address = NULL, count_key = NULL
        WHERE id = :id
        """,
        event._asdict(),
    )
