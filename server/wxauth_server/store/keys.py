"""SQL of keys: which of the key ring the rows need, and what they protect."""

from __future__ import annotations

from typing import NamedTuple

from wxauth_server.store.interface import Transaction

# Of the part of a stored password before its first "$".
_SCHEME_CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789-"


class KeyInUse(NamedTuple):
    """A row of keys_in_use. `check_value` is None until it was filled in."""

    purpose: str
    key_id: str
    check_value: bytes | None


class SealedRow(NamedTuple):
    """Where a sealed session_key is: on a binding, or (with a code_digest) on an exchange."""

    app_id: str
    openid: str
    code_digest: bytes | None
    ciphertext: bytes


def note_key_in_use(
    tx: Transaction, purpose: str, key_id: str, *, check_value: bytes | None = None
) -> None:
    """Remember that rows need this key of the key ring; fills in its missing check value."""
    tx.execute(
        """
        INSERT INTO keys_in_use (purpose, key_id, check_value)
        VALUES (:purpose, :key_id, :check_value)
        ON CONFLICT (purpose, key_id)
        DO UPDATE SET check_value = excluded.check_value
        WHERE keys_in_use.check_value IS NULL AND excluded.check_value IS NOT NULL
        """,
        {"purpose": purpose, "key_id": key_id, "check_value": check_value},
    )


def keys_in_use(tx: Transaction) -> list[tuple[str, str]]:
    """(purpose, key id) of every key that rows need."""
    return [(key.purpose, key.key_id) for key in noted_keys(tx)]


def noted_keys(tx: Transaction) -> list[KeyInUse]:
    """Every key that rows need, with what tells it from another of the same id."""
    rows = tx.execute(
        "SELECT purpose, key_id, check_value FROM keys_in_use ORDER BY purpose, key_id"
    )
    return [KeyInUse._make(row) for row in rows]


def forget_key(tx: Transaction, purpose: str, key_id: str) -> None:
    """Rows do not need this key any more."""
    tx.execute(
        "DELETE FROM keys_in_use WHERE purpose = :purpose AND key_id = :key_id",
        {"purpose": purpose, "key_id": key_id},
    )


def count_peppered(tx: Transaction, pepper_id: str) -> int:
    """How many accounts have a password hash (scheme$pepper_id$hash) that needs this key."""
    # Not LIKE: it reads the "_" of an id as any character, and one engine's is
    # blind to case.
    [(count,)] = tx.execute(
        """
        SELECT COUNT(*) FROM accounts
        WHERE SUBSTR(LTRIM(password, :scheme_characters), 1, LENGTH(:marked)) = :marked
        """,
        {"marked": f"${pepper_id}$", "scheme_characters": _SCHEME_CHARACTERS},
    )
    return int(count)


def count_sealed(tx: Transaction, key_id: str) -> int:
    """How many sealed session_keys need this key."""
    [(count,)] = tx.execute(
        """
        SELECT (SELECT COUNT(*) FROM bindings WHERE session_key_id = :key_id)
             + (SELECT COUNT(*) FROM exchanges WHERE session_key_id = :key_id)
        """,
        {"key_id": key_id},
    )
    return int(count)


def seal_keys_of_rows(tx: Transaction) -> list[str]:
    """The ids of the seal keys that sealed session_keys name. Looks at every row."""
    rows = tx.execute(
        """
        SELECT session_key_id FROM bindings WHERE session_key_id IS NOT NULL
        UNION SELECT session_key_id FROM exchanges WHERE session_key_id IS NOT NULL
        """
    )
    return [key_id for (key_id,) in rows]


def sealed_bindings(
    tx: Transaction, key_id: str, *, after: SealedRow | None, limit: int
) -> list[SealedRow]:
    """Bindings whose session_key needs this key, in the order of their primary key."""
    rows = tx.execute(
        """
        SELECT app_id, openid, NULL, COALESCE(session_key, :nothing) FROM bindings
        WHERE session_key_id = :key_id AND (app_id, openid) > (:app_id, :openid)
        ORDER BY app_id, openid LIMIT :limit
        """,
        {
            "key_id": key_id,
            "nothing": b"",
            "app_id": after.app_id if after else "",
            "openid": after.openid if after else "",
            "limit": limit,
        },
    )
    return [SealedRow._make(row) for row in rows]


def sealed_exchanges(
    tx: Transaction, key_id: str, *, after: SealedRow | None, limit: int
) -> list[SealedRow]:
    """Exchanges whose session_key needs this key, in the order of their primary key."""
    rows = tx.execute(
        """
        SELECT app_id, openid, code_digest, COALESCE(session_key, :nothing) FROM exchanges
        WHERE session_key_id = :key_id AND (app_id, code_digest) > (:app_id, :code_digest)
        ORDER BY app_id, code_digest LIMIT :limit
        """,
        {
            "key_id": key_id,
            "nothing": b"",
            "app_id": after.app_id if after else "",
            "code_digest": after.code_digest if after else b"",
            "limit": limit,
        },
    )
    return [SealedRow._make(row) for row in rows]


def replace_sealed(
    tx: Transaction, row: SealedRow, key_id: str, *, new: tuple[str, bytes] | None
) -> bool:
    """Store a row's session_key as (key id, ciphertext), or with None erase it.

    False if it is not the one of `row` any more, sealed with `key_id`: somebody
    stored a newer one meanwhile, which stays.
    """
    table, column = (
        ("bindings", "openid") if row.code_digest is None else ("exchanges", "code_digest")
    )
    return bool(
        tx.execute(
            f"""
            UPDATE {table} SET session_key_id = :new_key_id, session_key = :new_ciphertext
            WHERE app_id = :app_id AND {column} = :own_key
              AND session_key_id = :key_id AND COALESCE(session_key, :nothing) = :ciphertext
            RETURNING app_id
            """,  # noqa: S608 - two constants
            {
                "app_id": row.app_id,
                "own_key": row.openid if row.code_digest is None else row.code_digest,
                "key_id": key_id,
                "ciphertext": row.ciphertext,
                "nothing": b"",
                "new_key_id": new[0] if new else None,
                "new_ciphertext": new[1] if new else None,
            },
        )
    )
