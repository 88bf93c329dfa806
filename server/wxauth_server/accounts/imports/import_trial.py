"""A dry run of an import: what would become of the rows of a file that repeats itself."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence

from wxauth_server.accounts.imports.importing import (
    ADDED,
    AccountImporter,
    AccountRow,
    ImportBatch,
    Outcome,
)
from wxauth_server.accounts.usernames import username_key


class DryRun:
    """An `ImportBatch` that changes nothing but the store of `scratch`, to be thrown away.

    A dry run leaves no trace, so a second row with the id or the username of one in
    an earlier batch would not be noticed. Hence what would have been added is added
    there. Nobody expects password hashes in such a place, so it gets others in their
    stead, the same for the same one.
    """

    def __init__(self, import_batch: ImportBatch, scratch: AccountImporter) -> None:
        self._import_batch = import_batch
        self._key = secrets.token_bytes(32)
        self._scratch = scratch

    def __call__(self, rows: Sequence[AccountRow], *, dry_run: bool = True) -> list[Outcome]:
        del dry_run
        # Asked together, a row could be refused for one before it that `scratch` refuses.
        parts = [rows] if _are_distinct(rows) else [[row] for row in rows]
        outcomes = [each for part in parts for each in self._import_batch(part, dry_run=True)]
        new = [
            row._replace(password_hash=self._stand_in(row.password_hash))
            for row, outcome in zip(rows, outcomes, strict=True)
            if outcome == ADDED
        ]
        seen = iter(self._scratch.import_batch(new, dry_run=False))
        return [next(seen) if outcome == ADDED else outcome for outcome in outcomes]

    def _stand_in(self, password_hash: str | None) -> str | None:
        """Has the form of a bcrypt hash, and is one of nothing."""
        if password_hash is None or password_hash.startswith("!"):
            return password_hash
        digest = hmac.digest(self._key, password_hash.encode(), hashlib.sha512)
        characters = base64.b64encode(digest, altchars=b"./").decode()
        return f"$2b$04${characters[:21]}.{characters[21:52]}"


def _are_distinct(rows: Sequence[AccountRow]) -> bool:
    names = [username_key(row.username) for row in rows if row.username is not None]
    return len({row.id for row in rows}) == len(rows) and len(set(names)) == len(names)
