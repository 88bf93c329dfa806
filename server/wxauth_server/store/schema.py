"""The schema: which version a database has, and bringing it to the one of this code."""

from __future__ import annotations

from wxauth_server.store.interface import StoreTooNew, Transaction
from wxauth_server.store.migrations import MIGRATIONS

#: The schema version this code is written for.
CODE_VERSION = MIGRATIONS[-1].version


def migrate(tx: Transaction) -> int:
    """Bring the database to CODE_VERSION; how many migrations it took.

    Runs inside one write transaction of the engine: all of them or none.

    Raises: StoreTooNew when the database needs newer code.
    """
    tx.execute(
        """
        CREATE TABLE IF NOT EXISTS schema_state (
          one INTEGER PRIMARY KEY CHECK (one = 1),
          version INTEGER NOT NULL,
          oldest_compatible INTEGER NOT NULL
        )
        """
    )
    state = tx.execute("SELECT version, oldest_compatible FROM schema_state")
    version, oldest_compatible = state[0] if state else (0, 0)
    if oldest_compatible > CODE_VERSION:
        raise StoreTooNew(
            f"the database has schema {version}, which needs a wxauth that knows schema "
            f"{oldest_compatible} or later; this one knows {CODE_VERSION}"
        )
    pending = [migration for migration in MIGRATIONS if migration.version > version]
    for migration in pending:
        for statement in migration.statements:
            tx.execute(statement)
        if migration.finish is not None:
            migration.finish(tx)
        tx.execute(
            """
            INSERT INTO schema_state (one, version, oldest_compatible)
            VALUES (1, :version, :oldest)
            ON CONFLICT (one) DO UPDATE SET version = :version, oldest_compatible = :oldest
            """,
            {"version": migration.version, "oldest": migration.oldest_compatible},
        )
    return len(pending)
