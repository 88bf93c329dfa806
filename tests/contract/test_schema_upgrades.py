"""A database of an earlier schema, and the code of an earlier schema on a database of today."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from wxauth_server.store import schema
from wxauth_server.store.audit import Actor, Event, record_event
from wxauth_server.store.audit_log import AuditFilter, list_events
from wxauth_server.store.interface import StoreTooNew, Transaction
from wxauth_server.store.migrations import MIGRATIONS
from wxauth_server.store.schema import CODE_VERSION
from wxauth_server.store.sqlite import SQLiteStore

#: Opens the store as the code of a schema version does.
OpenAs = Callable[[int], SQLiteStore]


@pytest.fixture
def open_as(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OpenAs:
    def open_one(version: int) -> SQLiteStore:
        with monkeypatch.context() as patched:
            patched.setattr(schema, "MIGRATIONS", MIGRATIONS[:version])
            patched.setattr(schema, "CODE_VERSION", version)
            return SQLiteStore(tmp_path)

    return open_one


def version(store: SQLiteStore) -> int:
    [(found,)] = store.read(lambda tx: tx.execute("SELECT version FROM schema_state"))
    return int(found)


def record_as_version_3(tx: Transaction) -> None:
    """What the code of schema 3 ran for an operator's change."""
    tx.execute(
        """
        INSERT INTO audit_events (at, event, actor, reason, app_id, openid, account_source,
          account_id, session_handle, client_address, count)
        VALUES (1, 'ACCOUNT_ADDED', 'admin', NULL, NULL, NULL, 'local', '1', NULL, NULL, 1)
        """
    )


def record_now(tx: Transaction) -> None:
    record_event(
        tx, Event.ACCOUNT_ADDED, now_ms=1, actor=Actor.ADMIN, account=("local", "1"), caller="ops"
    )


def callers(store: SQLiteStore, caller: str | None = None) -> list[tuple[str | None, str | None]]:
    """Who did what the log tells: (actor, caller), oldest first."""
    found = store.read(
        lambda tx: list_events(tx, AuditFilter(caller=caller), oldest_first=True, limit=9)
    )
    return [(event.actor, event.caller) for event in found.events]


def test_a_log_from_before_callers_had_names(open_as: OpenAs) -> None:
    """Stays as it was; what comes has the name."""
    with closing(open_as(3)) as former:
        former.write(record_as_version_3)
        assert version(former) == 3
    with closing(open_as(CODE_VERSION)) as store:
        assert version(store) == CODE_VERSION
        store.write(record_now)
        assert callers(store) == [("admin", None), ("admin", "ops")]
        assert callers(store, caller="ops") == [("admin", "ops")]


def test_a_rollback_to_the_code_from_before(open_as: OpenAs) -> None:
    """It serves the database that newer code migrated, and the way back is open."""
    with closing(open_as(4)) as store:
        store.write(record_now)
    with closing(open_as(3)) as former:
        assert version(former) == 4
        former.write(record_as_version_3)
    with closing(open_as(4)) as store:
        assert callers(store) == [("admin", "ops"), ("admin", None)]


def test_code_that_tells_nobody_of_revocations_is_refused(open_as: OpenAs) -> None:
    """Servers that answer from memory would go on saying yes to sessions it ends."""
    open_as(5).close()
    with pytest.raises(StoreTooNew, match="schema 5"):
        open_as(4)
