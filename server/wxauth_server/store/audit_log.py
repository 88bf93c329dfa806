"""SQL that reads the audit log, page by page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from wxauth_server.store.interface import Transaction

#: Rows that one page looks at when no index leads to those that are wanted: some 10 ms,
#: since a reader that stays long keeps the write-ahead log growing.
LOOKED_AT = 20_000


class AuditRecord(NamedTuple):
    """A row of audit_events. Times in milliseconds since 1970."""

    id: int
    at: int
    event: str
    reason: str | None
    #: How many it stands for.
    times: int
    actor: str | None
    caller: str | None
    app_id: str | None
    openid: str | None
    account_source: str | None
    account_id: str | None
    session_handle: str | None
    client_address: str | None


_COLUMNS = ", ".join(AuditRecord._fields).replace("times", "count")


@dataclass(frozen=True)
class AuditFilter:
    """Which events are wanted: those that fit everything that is given."""

    #: From this time on, and before this one; milliseconds since 1970.
    since_ms: int | None = None
    until_ms: int | None = None
    #: One of these; empty: any.
    events: tuple[str, ...] = ()
    #: (source, id).
    account: tuple[str, str] | None = None
    app_id: str | None = None
    openid: str | None = None
    #: The name of the caller of AdminService who did it.
    caller: str | None = None
    #: With a larger id only.
    after_id: int = 0


class AuditPage(NamedTuple):
    """Some of the events, and where the next page goes on; None on the last one."""

    events: list[AuditRecord]
    next: int | None


def list_events(
    tx: Transaction,
    wanted: AuditFilter,
    *,
    oldest_first: bool,
    limit: int,
    beyond: int | None = None,
) -> AuditPage:
    """A page of at most `limit` events, in the order of their ids, or of it reversed.

    `beyond` is the `next` of the page before. A page can be short, even empty, and
    not the last: where nothing but a look at each row tells whether it is wanted,
    a page looks at LOOKED_AT of them.
    """
    # Each by itself: SQLite finds both at once only by reading everything.
    [(oldest, newest)] = tx.execute(
        "SELECT (SELECT MIN(id) FROM audit_events), (SELECT MAX(id) FROM audit_events)"
    )
    if newest is None:
        return AuditPage([], None)
    # Both ends of what is left to look at are within it.
    first, last = max(oldest, wanted.after_id + 1), newest
    if beyond is not None and oldest_first:
        first = max(first, beyond + 1)
    elif beyond is not None:
        last = min(last, beyond - 1)
    if first > last:
        return AuditPage([], None)
    page_first, page_last = first, last
    if wanted.account is None and wanted.openid is None and wanted.caller is None:
        if oldest_first:
            page_last = min(last, first + LOOKED_AT - 1)
        else:
            page_first = max(first, last - LOOKED_AT + 1)
    conditions, parameters = _conditions(wanted)
    rows = tx.execute(
        f"""
        SELECT {_COLUMNS} FROM audit_events
        WHERE {" AND ".join(("id BETWEEN :first AND :last", *conditions))}
        ORDER BY id {"ASC" if oldest_first else "DESC"} LIMIT :limit
        """,  # noqa: S608 - constants
        {"first": page_first, "last": page_last, "limit": limit} | parameters,
    )
    events = [AuditRecord._make(row) for row in rows]
    reached = page_last if oldest_first else page_first
    if len(events) == limit:
        reached = events[-1].id
    done = reached >= last if oldest_first else reached <= first
    return AuditPage(events, None if done else reached)


def _conditions(wanted: AuditFilter) -> tuple[list[str], dict[str, object]]:
    """What rows must fit, as SQL, and its parameters."""
    source, account_id = wanted.account or (None, None)
    events = {f"event_{number}": event for number, event in enumerate(wanted.events)}
    given: list[tuple[str, dict[str, object]]] = [
        ("at >= :since", {"since": wanted.since_ms}),
        ("at < :until", {"until": wanted.until_ms}),
        ("account_source = :source", {"source": source}),
        ("account_id = :account_id", {"account_id": account_id}),
        ("app_id = :app_id", {"app_id": wanted.app_id}),
        ("openid = :openid", {"openid": wanted.openid}),
        ("caller = :caller", {"caller": wanted.caller}),
    ]
    asked = [(sql, values) for sql, values in given if None not in values.values()]
    if events:
        asked.append((f"event IN ({', '.join(f':{name}' for name in events)})", {**events}))
    return (
        [sql for sql, _ in asked],
        {name: value for _, values in asked for name, value in values.items()},
    )
