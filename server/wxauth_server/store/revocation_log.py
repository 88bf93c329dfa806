"""The ordered log of what ended sessions before their time (docs/decisions/0014).

Whoever answers from memory reads it. Entries are appended in the transaction that
ends the sessions, as its last statements. One transaction appends at a time, until
its commit can be seen, so positions are in the order of the commits, and nobody who
reads to the end of the log misses one that commits later.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from wxauth_server.store.interface import Transaction

T = TypeVar("T")
AnyTransaction = TypeVar("AnyTransaction", bound=Transaction)

#: Entries of one INSERT.
_APPENDED_AT_ONCE = 100


class Revocation(NamedTuple):
    """What one entry of the log ends: one session, or those that began by a time."""

    #: Milliseconds since 1970.
    ended_at: int
    #: Of one session; None where it is about many.
    digest: bytes | None = None
    #: Of many sessions; "" for all apps.
    app_id: str | None = None
    #: Unix milliseconds: sessions that began then or before.
    login_by: int | None = None


class LoggedRevocation(NamedTuple):
    """An entry of the log at its position; the rest is as in Revocation."""

    position: int
    digest: bytes | None
    app_id: str | None
    login_by: int | None


class LogPosition(NamedTuple):
    """How far a log goes, or has been read. Means nothing in another database."""

    database_id: str
    position: int


_ENTRY_COLUMNS = ", ".join(LoggedRevocation._fields)


def run_and_append(
    tx: AnyTransaction, work: Callable[[AnyTransaction], T], *, is_numbered: bool = False
) -> T:
    """Run the work of a write, then append what it noted in `tx.revocations`.

    Every engine's `write` calls this with a transaction of its own for each run of the
    work. Nothing but COMMIT may follow. `is_numbered` says that the database gives
    entries their positions, and that nobody else appends after the work.
    """
    outcome = work(tx)
    if tx.revocations:
        before = None if is_numbered else _take_positions(tx, len(tx.revocations))
        _append(tx, tx.revocations, before)
    return outcome


def _take_positions(tx: Transaction, count: int) -> int:
    """The position before the next ones, which are taken."""
    [(last,)] = tx.execute(
        "UPDATE revocation_log SET position = position + :count RETURNING position",
        {"count": count},
    )
    return int(last) - count


def _append(tx: Transaction, revocations: list[Revocation], before: int | None) -> None:
    for start in range(0, len(revocations), _APPENDED_AT_ONCE):
        rows: list[str] = []
        parameters: dict[str, object] = {}
        for revocation in revocations[start : start + _APPENDED_AT_ONCE]:
            names = [f"{column}{len(rows)}" for column in Revocation._fields]
            parameters |= dict(zip(names, revocation, strict=True))
            position = "DEFAULT"
            if before is not None:
                position = f":position{len(rows)}"
                parameters[position[1:]] = before + start + len(rows) + 1
            rows.append(f"({position}, :{', :'.join(names)})")
        tx.execute(
            "INSERT INTO revocations (position, logged_at, digest, app_id, login_by)"  # noqa: S608
            f" VALUES {', '.join(rows)}",
            parameters,
        )


def end_of_log(tx: Transaction) -> LogPosition:
    """How far the log goes."""
    [row] = tx.execute(
        """
        SELECT database_id,
          COALESCE(NULLIF(position, 0), (SELECT MAX(position) FROM revocations), 0)
        FROM revocation_log
        """
    )
    return LogPosition._make(row)


def read_log(tx: Transaction, *, after: int, limit: int) -> list[LoggedRevocation]:
    """The next entries behind a position, in the order of their commits."""
    rows = tx.execute(
        f"""
        SELECT {_ENTRY_COLUMNS} FROM revocations
        WHERE position > :after ORDER BY position LIMIT :limit
        """,  # noqa: S608
        {"after": after, "limit": limit},
    )
    return [LoggedRevocation._make(row) for row in rows]


def name_the_database(tx: Transaction) -> None:
    """Give a database that has no id its own."""
    tx.execute(
        """
        INSERT INTO revocation_log (one, database_id, position)
        VALUES (1, :id, 0) ON CONFLICT (one) DO NOTHING
        """,
        {"id": secrets.token_hex(16)},
    )
