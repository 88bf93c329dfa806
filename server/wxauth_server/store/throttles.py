"""SQL of throttles: failed attempts to prove to be somebody, and attempts under way."""

from __future__ import annotations

from typing import NamedTuple

from wxauth_server.store.interface import Transaction


class ThrottleKey(NamedTuple):
    """What attempts are counted on; the order is the order of their locks."""

    #: Keyed digest of an account source and a mapped username; b"" for any name.
    name: bytes
    #: Both "" for any WeChat user.
    app_id: str
    openid: str


class ThrottleRecord(NamedTuple):
    """A row of throttles. Times in milliseconds since 1970."""

    failures: int
    pending: int
    reserved_at: int
    failed_at: int


_COLUMNS = ", ".join(ThrottleRecord._fields)
_KEY = "name = :name AND app_id = :app_id AND openid = :openid"


def reserve_attempt(
    tx: Transaction, key: ThrottleKey, *, forget_ms: int, lapse_ms: int, now_ms: int
) -> ThrottleRecord:
    """Count an attempt as begun, and hold the row; the row with it.

    Failures of over `forget_ms` ago are forgotten. Attempts that were begun over
    `lapse_ms` ago and never ended count as failures of then; so do those that were
    begun later than now, since the clock was set back.
    """
    # With the table's name, since the row that was not inserted has the same columns.
    at = "throttles.reserved_at"
    lapsed = f"({at} < :now - :lapse OR {at} > :now + :lapse)"
    [row] = tx.execute(
        f"""
        INSERT INTO throttles (name, app_id, openid, {_COLUMNS})
        VALUES (:name, :app_id, :openid, 0, 1, :now, 0)
        ON CONFLICT (name, app_id, openid) DO UPDATE SET
          failures =
            CASE WHEN throttles.failed_at < :now - :forget THEN 0 ELSE throttles.failures END
            + CASE WHEN {lapsed} THEN throttles.pending ELSE 0 END,
          failed_at =
            CASE WHEN {lapsed} AND throttles.pending > 0 THEN {at} ELSE throttles.failed_at END,
          pending = CASE WHEN {lapsed} THEN 0 ELSE throttles.pending END + 1,
          reserved_at = :now
        RETURNING {_COLUMNS}
        """,  # noqa: S608
        key._asdict() | {"forget": forget_ms, "lapse": lapse_ms, "now": now_ms},
    )
    return ThrottleRecord._make(row)


def end_attempt(tx: Transaction, key: ThrottleKey, *, failed_at: int | None) -> int:
    """Count an attempt as ended, and as failed if it was; the failures there are now."""
    rows = tx.execute(
        f"""
        UPDATE throttles SET
          pending = CASE WHEN pending > 0 THEN pending - 1 ELSE 0 END,
          failures = failures + :failed,
          failed_at = COALESCE(:failed_at, failed_at)
        WHERE {_KEY} RETURNING failures
        """,  # noqa: S608
        key._asdict() | {"failed": int(failed_at is not None), "failed_at": failed_at},
    )
    failures: int = rows[0][0] if rows else 0
    return failures


def forgive(tx: Transaction, key: ThrottleKey) -> int:
    """Count an attempt as ended well: the failures before it are forgotten; how many."""
    found = find_throttle(tx, key)
    tx.execute(
        f"""
        UPDATE throttles SET pending = CASE WHEN pending > 0 THEN pending - 1 ELSE 0 END,
          failures = 0, failed_at = 0
        WHERE {_KEY}
        """,  # noqa: S608
        key._asdict(),
    )
    tx.execute(f"DELETE FROM throttles WHERE {_KEY} AND pending = 0", key._asdict())  # noqa: S608
    return found.failures if found else 0


def take_back(tx: Transaction, key: ThrottleKey, failures: int) -> None:
    """Count so many failures less."""
    tx.execute(
        f"""
        UPDATE throttles
        SET failures = CASE WHEN failures > :less THEN failures - :less ELSE 0 END
        WHERE {_KEY}
        """,  # noqa: S608
        key._asdict() | {"less": failures},
    )


def find_throttle(tx: Transaction, key: ThrottleKey) -> ThrottleRecord | None:
    rows = tx.execute(f"SELECT {_COLUMNS} FROM throttles WHERE {_KEY}", key._asdict())  # noqa: S608
    return ThrottleRecord._make(rows[0]) if rows else None


def unlock_name(tx: Transaction, name: bytes) -> bool:
    """Forget all attempts on a name, also with the users who made them; whether any failed."""
    tx.execute(
        """
        UPDATE throttles SET failures = failures - (
          SELECT CASE WHEN theirs.failures < throttles.failures
            THEN theirs.failures ELSE throttles.failures END
          FROM throttles AS theirs
          WHERE theirs.name = :name AND theirs.app_id = throttles.app_id
            AND theirs.openid = throttles.openid
        )
        WHERE name = :any AND (app_id, openid) IN (
          SELECT app_id, openid FROM throttles WHERE name = :name AND openid <> ''
        )
        """,
        {"name": name, "any": b""},
    )
    rows = tx.execute("DELETE FROM throttles WHERE name = :name RETURNING failures", {"name": name})
    return any(failures for (failures,) in rows)


def forget_throttles(tx: Transaction, *, of_names: bool, before_ms: int, limit: int) -> int:
    """Delete the oldest rows whose last attempt began before a time; how many they were.

    `of_names` chooses the rows about a name and any WeChat user, else the others.
    """
    return len(
        tx.execute(
            """
            DELETE FROM throttles WHERE (name, app_id, openid) IN (
              SELECT name, app_id, openid FROM throttles
              WHERE reserved_at < :before AND (openid = '') = :of_names
              ORDER BY reserved_at LIMIT :limit
            )
            RETURNING failures
            """,
            {"before": before_ms, "of_names": of_names, "limit": limit},
        )
    )
