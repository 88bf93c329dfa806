"""Step 3: SQL of exchanges, what WeChat said about a code and what became of it."""

from __future__ import annotations

from typing import NamedTuple

from wxauth_server.store.interface import Transaction


class ExchangeRecord(NamedTuple):
    """A row of exchanges. Times in milliseconds since 1970.

    `settled` is None while the login may still go on. The sealed session_key is
    there only until then.
    """

    app_id: str
    code_digest: bytes
    request_digest: bytes | None
    openid: str
    unionid: str | None
    session_key: bytes | None
    session_key_id: str | None
    salt: bytes
    exchanged_at: int
    settled: str | None


_COLUMNS = ", ".join(ExchangeRecord._fields)


def find_exchange(tx: Transaction, app_id: str, code_digest: bytes) -> ExchangeRecord | None:
    rows = tx.execute(
        f"SELECT {_COLUMNS} FROM exchanges"  # noqa: S608
        " WHERE app_id = :app_id AND code_digest = :code_digest",
        {"app_id": app_id, "code_digest": code_digest},
    )
    return ExchangeRecord._make(rows[0]) if rows else None


def insert_exchange(tx: Transaction, exchange: ExchangeRecord) -> bool:
    """Store what WeChat said; False if the code has a row already."""
    return bool(
        tx.execute(
            f"""
            INSERT INTO exchanges ({_COLUMNS})
            VALUES (:app_id, :code_digest, :request_digest, :openid, :unionid, :session_key,
              :session_key_id, :salt, :exchanged_at, :settled)
            ON CONFLICT DO NOTHING RETURNING openid
            """,  # noqa: S608
            exchange._asdict(),
        )
    )


def settle_exchange(tx: Transaction, app_id: str, code_digest: bytes, settled: str) -> bool:
    """Say what became of the login and forget the session_key; False if it was said before."""
    return bool(
        tx.execute(
            """
            UPDATE exchanges SET settled = :settled, session_key = NULL, session_key_id = NULL
            WHERE app_id = :app_id AND code_digest = :code_digest AND settled IS NULL
            RETURNING openid
            """,
            {"app_id": app_id, "code_digest": code_digest, "settled": settled},
        )
    )


def forget_exchanges(tx: Transaction, *, before_ms: int, limit: int) -> int:
    """Delete the oldest rows from before a time, at most `limit`; how many they were."""
    return len(
        tx.execute(
            """
            DELETE FROM exchanges WHERE (app_id, code_digest) IN (
              SELECT app_id, code_digest FROM exchanges
              WHERE exchanged_at < :before ORDER BY exchanged_at LIMIT :limit
            )
            RETURNING openid
            """,
            {"before": before_ms, "limit": limit},
        )
    )
