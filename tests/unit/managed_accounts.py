"""What the tests of account management look at."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from tests.running_server import TEST_COST
from wxauth_server.accounts.manage import NewPassword
from wxauth_server.accounts.passwords import PasswordHasher
from wxauth_server.accounts.sources.source import LOCAL
from wxauth_server.keyring import KeyRing
from wxauth_server.store.sessions import SessionRecord, insert_session
from wxauth_server.store.sqlite import SQLiteStore

APP = "wx1111111111111111"
PASSWORD = NewPassword("correct horse")
NOW_MS = 1_790_000_000_000


class WatchedStore(SQLiteStore):
    """Knows whether a write is under way."""

    writing = False

    def write(self, work: Callable[[Any], Any]) -> Any:
        self.writing = True
        try:
            return super().write(work)
        finally:
            self.writing = False


class WatchedHasher(PasswordHasher):
    """Refuses to work inside a write: every other writer would wait for bcrypt."""

    def __init__(self, keyring: KeyRing, store: WatchedStore) -> None:
        super().__init__(keyring, cost=TEST_COST)
        self._store = store
        self.hashed = 0

    def hash(self, password: str) -> str:
        assert not self._store.writing, "bcrypt inside of a write transaction"
        self.hashed += 1
        return super().hash(password)


def events(store: SQLiteStore) -> list[tuple[str, str, int]]:
    rows = store.read(
        lambda tx: tx.execute("SELECT event, account_id, at FROM audit_events ORDER BY id")
    )
    return [(event, account_id, at) for event, account_id, at in rows]


def log_in(store: SQLiteStore, account_id: str, handle: str, at_ms: int = NOW_MS) -> None:
    """A session of the account, as a login leaves it."""
    store.write(
        lambda tx: insert_session(
            tx,
            SessionRecord.beginning(
                digest=hashlib.sha256(handle.encode()).digest(),
                handle=handle,
                app_id=APP,
                openid="openid",
                account=(LOCAL, account_id),
                now_ms=at_ms,
            ),
        )
    )


def causes(store: SQLiteStore) -> dict[str, str | None]:
    """Why each session was ended, by its handle."""
    return dict(store.read(lambda tx: tx.execute("SELECT handle, ended_cause FROM sessions")))
