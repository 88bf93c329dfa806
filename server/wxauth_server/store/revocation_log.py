"""The ordered log of what ended sessions before their time (docs/decisions/0014).

Whoever answers from memory reads it. Entries are appended in the transaction that
ends the sessions, as its last statements: the row with the newest position is
locked from then to the commit, so positions are in the order of the commits, and
nobody who reads to the end of the log misses one that commits later.
"""

from __future__ import annotations

import secrets
from typing import NamedTuple

from wxauth_server.store.interface import Transaction


class Revocation(NamedTuple):
    """What one entry of the log ends: one session, or those that began by a time."""

    #: Of one session; None where it is about many.
    digest: bytes | None = None
    #: Of many sessions; "" for all apps.
    app_id: str | None = None
    #: Unix milliseconds: sessions that began then or before.
    login_by: int | None = None


def append_revocations(tx: Transaction, revocations: list[Revocation], *, now_ms: int) -> None:
    """Append to the log. Nothing but COMMIT may follow in this transaction."""
    if not revocations:
        return
    [(last,)] = tx.execute(
        "UPDATE revocation_log SET position = position + :count RETURNING position",
        {"count": len(revocations)},
    )
    for position, revocation in enumerate(revocations, last - len(revocations) + 1):
        tx.execute(
            """
            INSERT INTO revocations (position, digest, app_id, login_by, logged_at)
            VALUES (:position, :digest, :app_id, :login_by, :now)
            """,
            revocation._asdict() | {"position": position, "now": now_ms},
        )


def name_the_database(tx: Transaction) -> None:
    """Give a database that has no id its own."""
    tx.execute(
        """
        INSERT INTO revocation_log (one, database_id, position)
        VALUES (1, :id, 0) ON CONFLICT (one) DO NOTHING
        """,
        {"id": secrets.token_hex(16)},
    )
